"""Runs: each has a name, which is that of its folder in outputs/, and remembers its settings in run.json there.

A profile's own run is called like the profile, and remembers nothing: `make run` is the same every time. So own photos
never go there, where the next plain run would replace them; they get a run of their own.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers.environment import located, pasted
from helpers.files import InputError, read_json, write_json
from helpers.profiles import (
    OWN_DATA,
    PATHS,
    PROFILES,
    RUN,
    RUN_NAME,
    SETTING_NAMES,
    Profile,
    Run,
    check_paths,
    each_path,
    find_run,
    get_profile,
    like_a_profile,
    of_profile,
    portable_paths,
    with_changes,
)

_HERE = {"outputs_dir"}  # where the run is to be found, which it cannot remember itself


def open_run(name: str | None, profile: str | None, given: Mapping[str, Any]) -> tuple[Profile, dict[str, Any]]:
    """The profile of the run that is asked for, and its parameters: those that it remembers, and those `given` now.

    Nothing is written. The name of the run and its settings are printed.

    Args:
        name: of the run; None: the profile's own, or the one that own photos have.
        profile: to begin with; None: as the run did, or the sample.
        given: parameters from the command line; None as a value takes back what is remembered.

    Raises:
        InputError: the names do not go together, or a setting is wrong.
    """
    if profile == "":  # a shell's variable that is not set
        raise InputError(f"--profile is blank; choose one of: {', '.join(PROFILES)}.")
    outputs_dir = given.get("outputs_dir")
    own = next((setting for setting in OWN_DATA if given.get(setting)), None)  # which of them names the run
    if name is None and profile not in PROFILES and find_run(profile, outputs_dir):
        name, profile = profile, None
    by_photos = name is None and own is not None
    if by_photos:
        name = _name_of_own(own, str(given[own]), profile or "sample", outputs_dir)
    if name is None or (name in PROFILES and own is None):
        if name is not None and profile not in (None, name):
            raise InputError(f"{name} is the run of the profile {name}; give one of {profile} another --name.")
        settings = {setting: value for setting, value in given.items() if value is not None}
        return get_profile(name or profile or "sample", **of_profile(settings)), settings
    if name in PROFILES:
        raise InputError(f"{name} is a profile's own run, which is the same for all; give your photos another --name.")
    if not RUN_NAME.fullmatch(name):
        raise InputError(
            f"A run cannot be called {name!r}; a name has letters and digits, and . _ - between them, and is none that "
            "Windows keeps for itself, such as con or nul."
        )
    known = find_run(name, outputs_dir)
    if known is None and (profile_alike := like_a_profile(name)):
        raise InputError(
            f"On Windows and macOS, {name} would be the folder of the profile {profile_alike}; take another --name."
        )
    changes = {setting: value for setting, value in given.items() if setting not in _HERE}
    if known is None and profile is None and not changes:
        raise InputError(f"There is no run {name!r} yet (--list shows all); say with --profile or --set what it is of.")
    if known and profile not in (None, known.profile):
        raise InputError(f"The run {name} is of the profile {known.profile}; give one of {profile} another --name.")
    if known and by_photos and given[own] != known.settings.get(own):
        of = known.settings.get(own, f"the profile {known.profile}")
        raise InputError(f"There is a run {name} already, of {of}; give this one another with run_all.py --name.")
    settings = with_changes(known.settings if known else {}, changes)
    here = {setting: value for setting, value in given.items() if setting in _HERE and value is not None}
    base = known.profile if known else profile or "sample"
    found = replace(get_profile(base, **of_profile(settings | here)), run=name)
    listed = ", ".join(f"{setting}={shown(setting, value)}" for setting, value in settings.items())
    print(f"Run {found.title} (profile {found.name}){': ' if listed else ''}{listed}")
    if by_photos and known is None:
        print("Own photos get a run of their own.")
    return found, settings | here


def remember(profile: Profile, given: Mapping[str, Any]) -> None:
    """Write what the run of `profile` was set to, if that has changed; of a profile's own run, for `--list` alone.

    What a named run remembers from now on is printed.
    """
    run = Run(profile.name, {setting: value for setting, value in given.items() if setting not in _HERE}).noted()
    path = profile.outputs / RUN
    known = read_json(path) if path.exists() else None
    if run == known:
        return
    write_json(path, run)
    if profile.run and known is None:
        here = (f"--set={setting}={value}" for setting, value in given.items() if setting in _HERE)
        again = pasted(["python", "run_all.py", "--name", profile.run, *here])
        print(f"It is remembered: `{again}` goes on with it.")
    elif profile.run:
        before, now, usual = known["settings"], run["settings"], "as the profile has it"
        names = [name for name in before | now if before.get(name) != now.get(name)]
        changes = [f"{name}: {before.get(name, usual)} → {now.get(name, usual)}" for name in names]
        print(f"Changed from now on: {'; '.join(changes)}.")


def run_of_own(settings: Profile) -> Profile:
    """`settings` of a notebook, in a run of its own if they bring own photos; it is written down for those after it.

    Raises:
        InputError: the photos are not there, or a run of the same name has others.
    """
    if settings.run is not None or not any(getattr(settings, setting) for setting in OWN_DATA):
        return settings
    given = {setting: getattr(settings, setting) for setting in SETTING_NAMES}
    given = {setting: value for setting, value in given.items() if value != getattr(PROFILES[settings.name], setting)}
    for setting in PATHS & given.keys():
        given[setting] = each_path(given[setting], lambda part: str(located(part)))
    check_paths(given)
    profile, given = open_run(None, settings.name, given)
    remember(profile, given)
    elsewhere = f" and outputs_dir = {profile.outputs_dir!r}" if profile.outputs_dir != Profile.outputs_dir else ""
    print(f"In the notebooks after this one, set profile = {profile.run!r}{elsewhere}.")
    return profile


def _name_of_own(setting: str, folder: str, profile: str, outputs_dir: Any) -> str:
    """What a run over own photos is called: like their folder, with the profile's name where only classes are own."""
    names = each_path(folder, lambda part: Path(part).name)
    name = re.sub(r"[^\w.-]+", "_", names).strip("._-")[:40].strip("._-") or "photos"
    name = f"{profile}_{name}" if setting == "classes_folder" else name
    free = name not in PROFILES and (not like_a_profile(name) or find_run(name, outputs_dir))
    return name if free and RUN_NAME.fullmatch(name) else f"own_{name}"


def shown(setting: str, value: Any) -> str:
    """A setting's value for people."""
    return portable_paths(value) if setting in PATHS and value else str(value)
