"""The drawings of notebooks 05 and 06: numbers in eight bits, and searches that do not look everywhere."""

import numpy as np

from docs.drawings.sheet import Point, Sheet


def quantisation() -> Sheet:
    """The numbers are those of notebook 05, "Symmetric or asymmetric?", in four bits, so that the steps can be seen."""
    numbers = np.array([-1.6, 0.0, 0.6, 1.3, 2.4, 5.9])
    sheet = Sheet(880, 346, "Quantisation: each number goes to the nearest step of a scale")
    left, width, reach = 236, 610, numbers.max()

    def at(number: float) -> float:
        return left + width * (number + reach) / (2 * reach)

    symmetric = ("symmetric", reach / 7, 0, range(-7, 8), "orange")
    scale = (numbers.max() - numbers.min()) / 15
    asymmetric = ("asymmetric", scale, round(-numbers.min() / scale), range(16), "blue")
    for y, (name, scale, zero, steps, colour) in ((96, symmetric), (226, asymmetric)):
        stored = (np.round(numbers / scale) + zero).clip(steps[0], steps[-1]).astype(int)
        back = (stored - zero) * scale
        sheet.text(24, y - 40, name, "start", colour, "large")
        sheet.text(24, y - 14, f"scale {scale:.2f}", "start", style="small")
        sheet.text(24, y + 4, f"zero point {zero}" if zero else "zero stays 0", "start", style="small")
        sheet.text(24, y + 22, f"largest error {np.abs(back - numbers).max():.2f}", "start", style="small")
        sheet.line([(at((steps[0] - zero) * scale), y), (at((steps[-1] - zero) * scale), y)])
        for step in steps:
            x = at((step - zero) * scale)
            sheet.line([(x, y - 6), (x, y + 6)], colour)
            used = step in stored
            sheet.text(
                x,
                y + 20,
                str(step).replace("-", "−"),
                colour=colour if used else "soft",
                style="small bold" if used else "small",
            )
        for number, value in zip(numbers, back, strict=True):
            sheet.circle(at(number), y - 36, 5, "ink", filled=True)
            sheet.arrow((at(number), y - 30), (at(value), y - 7))
            sheet.text(at(number), y - 54, f"{number:g}".replace("-", "−"), style="small")
            sheet.circle(at(value), y, 4.5, colour, filled=True)
        sheet.text(left - 30, y + 20, "stored", "end", style="small")
    sheet.text((at(-reach) + at(-2)) / 2, 66, "steps that nothing uses", colour="soft", style="small")
    sheet.text(24, 290, "stored = round(number / scale) + zero point", "start")
    sheet.text(460, 290, "number ≈ (stored − zero point) · scale", "start")
    sheet.text(
        24,
        318,
        "Here in 4 bits, 16 steps at most; INT8 has 256. What lies beyond the last step is cut off there.",
        "start",
    )
    return sheet


def _clustered(rng: np.random.Generator, centres: np.ndarray, each: int, spread: float) -> np.ndarray:
    return (centres[:, None] + rng.normal(0, spread, (len(centres), each, 2))).reshape(-1, 2)


def _cell(centres: np.ndarray, number: int, frame: list[Point]) -> list[Point]:
    """The part of `frame` that lies closer to a centre than to all others: cut off, neighbour by neighbour."""
    corners = [np.array(corner) for corner in frame]
    for other in np.delete(centres, number, axis=0):
        normal = other - centres[number]
        limit = normal @ (other + centres[number]) / 2
        cut = []
        for one, following in zip(corners, corners[1:] + corners[:1], strict=True):
            inside, next_inside = normal @ one <= limit, normal @ following <= limit
            if inside:
                cut.append(one)
            if inside != next_inside:
                share = (limit - normal @ one) / (normal @ (following - one))
                cut.append(one + share * (following - one))
        corners = cut
    return [tuple(corner) for corner in corners]


def _ivf(sheet: Sheet, left: float, top: float, size: float) -> str:
    """Cells around centres that k-means has found, and a query that looks into two of them; what it missed."""
    rng = np.random.default_rng(15)
    points = _clustered(rng, rng.uniform(0.08, 0.92, (9, 2)), 9, 0.075).clip(0.02, 0.98)
    centres = points[rng.permutation(len(points))[:7]]
    for _ in range(20):  # k-means
        nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)
        centres = np.stack([points[nearest == number].mean(0) for number in range(len(centres))])
    query = np.array([0.55, 0.42])
    by_distance = np.argsort(np.linalg.norm(centres - query, axis=1))
    true = np.argsort(np.linalg.norm(points - query, axis=1))[:5]
    found = {nprobe: np.isin(nearest[true], by_distance[:nprobe]) for nprobe in (1, 2)}
    seen = {nprobe: np.isin(nearest, by_distance[:nprobe]).sum() for nprobe in found}
    frame = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    place = lambda point: (left + size * point[0], top + size * point[1])  # noqa: E731
    for number, centre in enumerate(centres):
        corners = [place(corner) for corner in _cell(centres, number, frame)]
        sheet.polygon(corners, "blue" if number == by_distance[0] else "soft")
        x, y = place(centre)
        sheet.line([(x - 4, y), (x + 4, y)])
        sheet.line([(x, y - 4), (x, y + 4)])
    for row, point in enumerate(points):
        sheet.circle(*place(point), 3, "ink" if nearest[row] == by_distance[0] else "soft", filled=True)
    for row, is_found in zip(true, found[1], strict=True):
        sheet.circle(*place(points[row]), 5, "green" if is_found else "red", filled=True)
    sheet.query(*place(query))
    return (f"nprobe 1 looks at {seen[1]} of {len(points)} vectors and finds {found[1].sum()} of the 5 nearest;\n"
            f"red lies across a border. nprobe 2 looks at {seen[2]} and finds {found[2].sum()}")  # fmt: skip


def _hnsw(sheet: Sheet, left: float, top: float, width: float) -> str:
    """Three layers of the same vectors, fewer the higher; a walk goes down, always to the neighbour that is closer."""
    rng = np.random.default_rng(29)
    points = np.stack([rng.permutation(np.linspace(0.03, 0.97, 26)), rng.uniform(0.08, 0.92, 26)], axis=1)
    layers = [np.arange(26), np.arange(9), np.arange(3)]
    query = np.array([0.86, 0.3])
    depth, lean, gap = 84, 56, 122
    start = place = int(layers[-1][np.linalg.norm(points[layers[-1]] - query, axis=1).argmax()])
    hops: list[tuple[int, int, int]] = []  # layer, from, to
    links = {}
    for layer, members in enumerate(layers):
        distances = np.linalg.norm(points[members][:, None] - points[members], axis=2)
        links[layer] = {tuple(sorted((int(members[a]), int(members[b]))))
                        for a in range(len(members)) for b in np.argsort(distances[a])[1:4]}  # fmt: skip
    for layer in (2, 1, 0):
        while True:
            around = [a + b - place for a, b in links[layer] if place in (a, b)]
            closest = min([place, *around], key=lambda row: np.linalg.norm(points[row] - query))
            if closest == place:
                break
            hops.append((layer, place, closest))
            place = closest
        if layer:
            hops.append((layer, place, place))

    def at(layer: int, point: np.ndarray) -> Point:
        x, y = point
        return left + lean * (1 - y) + (width - lean) * x, top + gap * (2 - layer) + depth * y

    for layer in (0, 1, 2):
        corners = [at(layer, np.array(corner)) for corner in ((0, 0), (1, 0), (1, 1), (0, 1))]
        sheet.polygon(corners, "soft")
        for a, b in sorted(links[layer]):
            sheet.line([at(layer, points[a]), at(layer, points[b])], "soft")
        for row in layers[layer]:
            sheet.circle(*at(layer, points[row]), 4, "blue", filled=True)
    for layer, before, after in hops:
        if before == after:
            sheet.arrow(at(layer, points[before]), at(layer - 1, points[before]), colour="orange", style="dashed")
        else:
            sheet.arrow(at(layer, points[before]), at(layer, points[after]), colour="orange", style="thick")
    sheet.circle(*at(2, points[start]), 5.5, "orange", filled=True)
    sheet.query(*at(0, query))
    seen = {start} | {b for layer, a, _ in hops for pair in links[layer] if a in pair for b in pair}
    seen |= {b for pair in links[0] if place in pair for b in pair}
    exact = int(np.linalg.norm(points - query, axis=1).argmin())
    ending = "the nearest one" if place == exact else "a near one, not the nearest"
    return f"{sum(a != b for _, a, b in hops)} hops, {len(seen)} of 26 vectors compared;\nit ends at {ending}"


def ivf_and_hnsw() -> Sheet:
    sheet = Sheet(880, 486, "Two indexes that do not look everywhere: cells, and walks from neighbour to neighbour")
    sheet.text(24, 24, "IVF: cells", "start", style="large")
    sheet.text(24, 454, _ivf(sheet, 24, 44, 380), "start", style="small")
    sheet.text(450, 24, "HNSW: layers of neighbours", "start", style="large")
    sheet.text(450, 454, _hnsw(sheet, 450, 62, 400), "start", style="small")
    for layer, name in ((2, "few vectors, far hops"), (1, "more"), (0, "all, near hops")):
        sheet.text(856, 62 + 122 * (2 - layer) - 8, name, "end", "soft", "small")
    sheet.query(780, 448)
    sheet.text(856, 450, "the query", "end", "purple", "small")
    return sheet
