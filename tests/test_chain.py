"""The whole chain through run_all.py, as a user starts it, on a very small sample: what it promises is there and works.

One run serves all tests; nothing of the network or of the machine's caches is within its reach. Models this small
and this little trained know nothing, so the tests look at agreement (a saved model with itself, OpenVINO with PyTorch,
FAISS with NumPy), never at how good a result is.
"""

import ast
import json
import math
import re
import shutil
import sys

import nbformat
import numpy as np
import pytest
import torch
from course_copy import solutions
from nbclient import NotebookClient
from small_chain import SMALL, Chain
from torture.chains import Disturbance, artefacts, differences
from verdicts import contradictions

from helpers.captioning.captioner import load_captioner
from helpers.captioning.decoding import greedy
from helpers.chain.freshness import code_cells, declared_parameters
from helpers.chain.lock import LOCK
from helpers.chain.report import flatten
from helpers.data.images import load_pixels
from helpers.data.manifest import load_manifest
from helpers.deploy.models import load_openvino_captioner, load_openvino_pair
from helpers.encoders.dual_encoder import load_dual_encoder
from helpers.encoders.fusion import load_fusion
from helpers.features.store import load_features
from helpers.files import fingerprint_files, read_json
from helpers.graphs import core
from helpers.profiles import RUN, SETTING_NAMES
from helpers.search.index import SearchIndex, query_vector
from run_all import PATHS, STAGES

BACKBONE = "efficientnet_lite0+colours"
CAPTIONERS = ("captioners/lstm", "captioners/attention", "captioners/transformer")


# --- What the table of stages says about the notebooks ---


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_needs_the_stages_whose_files_its_notebook_loads(stage):
    loaders = {
        "load_manifest": {"01"},
        "load_features": {"02"},
        "load_views": {"02"},
        "load_dual_encoder": {"04a"},
        "load_fusion": {"04b"},
        "load_pretrained_pair": {"04c"},
        "load_openvino_captioner": {"05"},
        "load_openvino_pair": {"04a", "05"},
        "load_openvino_fusion": {"04b", "05"},
        "load_openvino_pretrained_pair": {"04c", "05"},
        "PhotoSearch": {"01", "03b", "04a", "04b", "04c", "05"},
    }
    source = "\n".join(source for source, _ in code_cells(stage.notebook))
    loaded = set().union(*(written for name, written in loaders.items() if re.search(rf"\b{name}\(", source)))
    captioners = {"lstm": "03a", "attention": "03b", "transformer": "03c"}
    for kind in re.findall(r'"captioners" / "?(\w+)"?|"captioners/([\w*]+)', source):
        kind = "".join(kind)
        loaded |= {captioners[kind]} if kind in captioners else set(captioners.values())
    assert set(stage.needs) == loaded - {stage.short}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_notebook_declares_every_setting_it_reads(stage):
    # What is not in the parameters cell can neither be set nor be noticed when it changes.
    trees = [ast.parse(source) for source, _ in code_cells(stage.notebook)]
    read = {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"
    }
    assert read & set(SETTING_NAMES) <= set(declared_parameters(stage.notebook))


def test_every_setting_can_be_set_somewhere():
    declared = set().union(*(declared_parameters(stage.notebook) for stage in STAGES))
    assert set(SETTING_NAMES) | PATHS <= declared


# --- One run of everything ---


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Chain:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    finished = chain.run()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    table = finished.stdout.split("stage ", 1)[1].splitlines()[2 : 2 + len(STAGES)]
    assert [line.split()[:2] for line in table] == [[stage.name, "ran"] for stage in STAGES]
    return chain


@pytest.fixture(scope="module")
def manifest(chain):
    return load_manifest(chain.outputs)


@pytest.fixture(scope="module")
def features(chain):
    return load_features(chain.outputs / "features", BACKBONE)


def test_the_data_set_is_split_and_complete(chain, manifest):
    assert sum(len(manifest.split(split)) for split in ("train", "val", "test")) == SMALL["scenes"]
    assert len(manifest.classes) == 10
    assert len(manifest.class_photos) == 10 * SMALL["pictures_per_class"]
    assert all(photo.path.is_file() for photo in [*manifest.photos, *manifest.class_photos])


def test_features_are_there_for_every_photo(features, manifest):
    assert set(features.ids) == {photo.id for photo in manifest.photos}
    assert features.vectors.shape == (60, 1344) and features.vectors.dtype == np.float32
    assert features.grid.shape == (60, 49, 1344) and features.grid.dtype == np.float16
    assert np.isfinite(features.vectors).all() and np.isfinite(features.grid).all()
    assert (features.vectors.std(axis=0) > 0).mean() > 0.9  # photos differ


@pytest.mark.parametrize("folder", CAPTIONERS)
def test_the_captioner_describes_a_photo(chain, manifest, folder):
    captioner = load_captioner(chain.outputs / folder)
    text = captioner.caption(manifest.split("test")[0].path)
    assert text and not re.search(r"<(SOS|EOS|PAD|UNK)>", text)


def test_the_encoders_put_photos_and_texts_into_one_space(chain, manifest):
    for folder, photo in (("dual_encoder", manifest.photos[0]), ("dual_encoder/classes", manifest.class_photos[0])):
        pair = load_dual_encoder(chain.outputs / folder)
        photos = pair.embed_photos(load_pixels([photo.path], pair.photo_size))
        texts = pair.embed_texts(["a brown dog on the grass", "a cow"])
        assert photos.shape == (1, 256) and texts.shape == (2, 256)
        np.testing.assert_allclose(np.linalg.norm(np.concatenate([photos, texts]), axis=1), 1, atol=1e-5)


def test_the_fusion_model_takes_photos_texts_and_both(chain, manifest, features):
    encoder = load_fusion(chain.outputs / "fusion")
    photos = manifest.split("test")
    vectors = features.vectors[features.rows([photo.id for photo in photos])]
    texts = [photo.captions[0] for photo in photos]
    views = [encoder.embed(vectors, texts), encoder.embed(vectors), encoder.embed(texts=texts)]
    for found in views:
        assert found.shape == (len(photos), 128)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    pixels = load_pixels([photo.path for photo in photos], encoder.photo_size)
    assert (encoder.embed(pixels) * views[1]).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("folder", ["dual_encoder", "dual_encoder/classes"])
def test_exported_encoders_agree_with_pytorch(chain, manifest, folder):
    pair = load_dual_encoder(chain.outputs / folder)
    pixels = load_pixels([photo.path for photo in manifest.split("test")], pair.photo_size)
    texts = [photo.captions[0] for photo in manifest.split("test")]
    for precision, least in (("fp32", 0.9999), ("fp16", 0.999), ("int8", 0.9)):
        exported = load_openvino_pair(chain.outputs / folder, precision)
        for ours, theirs in (
            (pair.embed_photos(pixels), exported.embed_photos(pixels)),
            (pair.embed_texts(texts), exported.embed_texts(texts)),
        ):
            assert (ours * theirs).sum(axis=1).min() > least, precision


@pytest.mark.parametrize("folder", CAPTIONERS)
def test_the_exported_captioner_writes_the_same_captions(chain, manifest, features, folder):
    folder = chain.outputs / folder
    captioner = load_captioner(folder)
    photos = torch.from_numpy(captioner.features(features, [photo.id for photo in manifest.split("test")]))
    captions = greedy(captioner.model, photos, captioner.rules)
    exported = load_openvino_captioner(folder)
    assert [c.tokens for c in greedy(exported.model, photos, exported.rules)] == [c.tokens for c in captions]
    for precision in ("fp16", "int8"):
        smaller = load_openvino_captioner(folder, precision)
        assert len(greedy(smaller.model, photos, smaller.rules)) == len(captions)


def test_every_exported_graph_is_whole_and_comes_in_all_precisions(chain):
    graphs = {path.relative_to(chain.outputs).as_posix() for path in chain.outputs.rglob("*.xml")}
    whole = {name for name in graphs if not name.endswith(("_fp16.xml", "_int8.xml"))}
    assert whole >= {
        *(f"{folder}/{function}.xml" for folder in CAPTIONERS for function in ("encode", "initial_state", "step")),
        *(f"dual_encoder/{part}{side}_encoder.xml" for part in ("", "classes/") for side in ("image", "text")),
    }
    variants = {name.replace(".xml", f"_{precision}.xml") for name in whole for precision in ("fp16", "int8")}
    assert graphs == whole | variants
    assert all(core().read_model(chain.outputs / name).outputs for name in graphs)
    start = [name for name in whole if name.endswith("/initial_state.xml")]  # a layer or none
    assert len(chain.metrics("openvino")["graphs"]) == len(whole) - len(start)  # all others are measured


def test_the_index_answers_as_brute_force_does(chain, manifest):
    pair = load_dual_encoder(chain.outputs / "dual_encoder")
    weights = fingerprint_files([chain.outputs / "dual_encoder/best_multimodal_model.pth"])
    index = SearchIndex.load(chain.outputs / "dual_encoder/vector_db", weights)
    paths = {photo.id: photo.path for photo in manifest.photos}
    assert set(index.ids) == set(paths)
    vectors = pair.embed_photos(load_pixels([paths[photo_id] for photo_id in index.ids], pair.photo_size))
    query = query_vector(pair, text="two black cats under a tree")
    cosines = vectors @ (query / np.linalg.norm(query))
    scores, found = index.search(query, k=5)
    np.testing.assert_allclose(scores[0], np.sort(cosines)[::-1][:5], atol=1e-4)
    assert found[0][0] in [index.ids[row] for row in np.flatnonzero(cosines > cosines.max() - 1e-4)]


PROMISED = {
    **dict.fromkeys(
        CAPTIONERS,
        "split images decoding bleu_1 bleu_2 bleu_3 bleu_4 rouge_l cider_d meteor train_seconds "
        "parameters distinct_share",
    ),
    "dual_encoder": "split gallery i2t_r1 i2t_r5 i2t_r10 t2i_r1 t2i_r5 t2i_r10 median_rank_i2t median_rank_t2i "
    "train_seconds parameters t2i_p10 i2i_p10 map",
    "dual_encoder/classes": "split gallery t2i_p10 i2i_p10 map train_seconds parameters",
    "pretrained_encoder": "split gallery i2t_r1 i2t_r5 i2t_r10 t2i_r1 t2i_r5 t2i_r10 median_rank_i2t median_rank_t2i "
    "train_seconds parameters",
    "pretrained_encoder/classes": "split gallery t2i_p10 i2i_p10 map train_seconds parameters",
    "fusion": "split gallery i2t_r1 i2t_r5 i2t_r10 t2i_r1 t2i_r5 t2i_r10 median_rank_i2t median_rank_t2i "
    "triplet_accuracy ndcg train_seconds parameters",
}


@pytest.mark.parametrize("folder", PROMISED)
def test_promised_metrics_are_there(chain, folder):
    metrics = chain.metrics(folder)
    names = set(PROMISED[folder].split())
    assert names <= set(metrics)
    values = {name: metrics[name] for name in names - {"split", "decoding", "ndcg"}}
    assert metrics["split"] == "test"
    assert all(isinstance(value, int | float) for name, value in values.items() if name != "meteor")
    percentages = [value for name, value in values.items() if re.match(r"bleu|rouge|distinct|[it]2[it]_r", name)]
    assert all(0 <= value <= 100 for value in percentages)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_leaves_numbers_pictures_and_its_executed_notebook(chain, stage):
    metrics = chain.metrics(stage.folder)
    assert metrics["headline"]
    numbers = [value for value in flatten(metrics).values() if isinstance(value, int | float)]
    assert numbers and all(map(math.isfinite, numbers))
    pictures = list((chain.outputs / stage.folder).rglob("*.png"))
    report = (chain.outputs / "report.html").read_text(encoding="utf-8")
    section = report.split(f'id="stage-{stage.short}"')[1].split("</section>")[0]
    assert section.count('<img src="data:image/') == len(pictures) > 0
    cells = read_json(chain.outputs / "notebooks" / stage.notebook.name)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    assert all(cell["execution_count"] for cell in code)


def test_what_the_notebooks_say_of_their_figures_is_what_the_figures_say(chain):
    """Models that know nothing bring out the other outcome of most sentences, and that must be as true."""
    counts = {}
    for stage in STAGES:
        wrong, counts[stage.short] = contradictions(read_json(chain.outputs / "notebooks" / stage.notebook.name))
        assert not wrong, f"{stage.name}: {wrong}"
    assert all(counts[short] for short in ("03a", "03b", "03c", "04a", "04b", "04c", "05", "06")), counts


def test_any_verdict_of_the_notebooks_that_is_turned_round_is_found(chain):
    verdict, turned = r"(?m)^(▸ \S+ \(.+?\) is )(above|below|level with)(?= \S+ \()", {"above": "below"}
    for stage in STAGES:
        notebook = read_json(chain.outputs / "notebooks" / stage.notebook.name)
        for output in (output for cell in notebook["cells"] for output in cell.get("outputs", ())):
            if output["output_type"] == "stream":
                text = "".join(output["text"])
                output["text"] = re.sub(verdict, lambda said: said[1] + turned.get(said[2], "above"), text)
        wrong, count = contradictions(notebook)
        assert len(wrong) == count, stage.name


def test_nothing_half_written_is_left(chain):
    names = [path.name for path in chain.outputs.rglob("*")]
    assert not [name for name in names if name.startswith(".") or name.endswith((".partial", ".old", ".tmp"))]


# --- What runs again ---


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_stages_that_were_killed_come_to_the_same_files(chain, tmp_path):
    """The short form of tests/torture/chains.py, which kills all stages a hundred times."""
    records = json.loads((chain.outputs / "run_state.json").read_text())
    seconds = {short: records[short]["seconds"] for short in ("01", "02")}
    disturbance = Disturbance(Chain(tmp_path), seconds, ["tree", "run", "kernel", "SIGTERM"], 1, "test", "--to", "02")
    disturbance.run()
    names = {RUN} | {name for short in seconds for name in records[short]["outputs"]}
    expected = {name: content for name, content in artefacts(chain.outputs).items() if name in names}
    assert disturbance.wrong + differences(disturbance.chain.outputs, expected) == [] and len(expected) > 5
    assert disturbance.count("01") == disturbance.count("02") == 1


def test_every_notebook_and_its_solutions_run_in_a_fresh_kernel_from_its_own_folder(chain):
    """As a reader does it in Jupyter: no run_all, the notebook's folder as working directory, cell by cell.

    Below them the folded solutions, as a reader would paste them, one cell each.
    """
    settings = SMALL | {"outputs_dir": "by_hand", "self_critical_epochs": 0}  # notebook 03c's other way, too
    (chain.project / "mine.txt").write_text("cane: a dog that barks\n", encoding="utf-8")
    settings |= {"descriptions_file": "mine.txt"}  # from the project, wherever the notebook stands
    for stage in STAGES:
        path = chain.project / "notebooks" / stage.notebook.name
        content = nbformat.read(path, as_version=4)
        cell = next(cell for cell in content.cells if "parameters" in cell.metadata.get("tags", ()))
        cell.source = "\n".join([cell.source, *(f"{name} = {value!r}" for name, value in settings.items())])
        added = [nbformat.v4.new_code_cell(source) for source in solutions(path)]
        content.cells += added
        place = {"metadata": {"path": str(path.parent)}}
        NotebookClient(content, timeout=600, resources=place).execute()  # an error in a cell is an error here
        assert (chain.project / "by_hand" / "sample" / stage.folder / "metrics.json").exists()
        for number, cell in enumerate(added, start=1):
            assert cell.outputs, f"{stage.name}: solution {number} shows nothing"
            returned = [output for output in cell.outputs if output.output_type == "execute_result"]
            assert not returned, f"{stage.name}: solution {number} ends in a value, and shows its figure twice"


def test_a_second_run_does_nothing(chain):
    def times():
        files = (path for path in chain.outputs.rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files if path.name != LOCK}  # which says who ran last

    copies = times()
    again = chain.run()
    assert again.returncode == 0
    assert sorted(re.findall(r"\] (\S+)  up to date", again.stdout)) == sorted(stage.name for stage in STAGES)
    assert times() == copies


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"encoder_batch": 16}, "04a 05 06 07"),
        ({"fusion_batch": 16}, "04b 05 06 07"),
        ({"pretrained_batch": 16}, "04c 05 06 07"),
        ({"caption_batch": 12}, "03a 03b 03c 04c 05 06 07"),
        ({"transformer_layers": 1}, "03c 05 06 07"),
        ({"consensus_photos": 2}, "06"),
        ({"judged_photos": 5}, "05 06 07"),
        ({"scenes": 61}, "01 02 03a 03b 03c 04a 04b 04c 05 06 07"),
        ({"threads": 2}, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_a_changed_parameter_reruns_its_stage_and_what_depends_on_it(chain, setting, expected):
    listed = chain.run("--list", **setting)
    assert listed.returncode == 0
    assert re.findall(r"^(\w+?)_\w+ +would run", listed.stdout, re.MULTILINE) == expected.split()
    assert len(re.findall(r"would run|up to date", listed.stdout)) >= len(STAGES)


def test_a_wrong_setting_stops_the_chain_in_one_sentence_and_loses_nothing(chain, tmp_path):
    outputs = tmp_path / "outputs" / "sample"
    shutil.copytree(chain.outputs, outputs)
    models = [path for path in outputs.rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".npy", ".bin", ".xml")]
    before = fingerprint_files(models)
    refused = chain.run("--jobs=1", outputs_dir=outputs.parent, caption_tokenizer="nonsense")
    assert refused.returncode == 2 and refused.stdout == ""
    assert re.fullmatch(r".*caption_tokenizer cannot be 'nonsense'.*\n", refused.stderr)
    # BERT's vocabulary is a download, and there is no network: that is found out at the start.
    stopped = chain.run("--jobs=1", outputs_dir=outputs.parent, caption_tokenizer="bert")
    assert stopped.returncode == 2 and stopped.stdout == ""
    assert re.fullmatch(
        r"This run needs the vocabulary of bert-base-uncased, and huggingface.co cannot be reached; connect to the "
        r"internet, or do without: `python run_all.py .*--set caption_tokenizer=wordpiece`\.\n",
        stopped.stderr,
    )
    assert fingerprint_files(models) == before
    assert load_captioner(outputs / "captioners/lstm").kind == "lstm"
    assert set(json.loads((outputs / "run_state.json").read_text())) == {stage.short for stage in STAGES}
