"""The map of the course: which notebook hands what to which."""

from docs.drawings.sheet import Sheet

# Notebook -> place on the map (column, row), colour, and what it is about.
NOTEBOOKS = {
    "01_download": ((0, 1.5), "soft", "photos and\ntheir captions"),
    "02_features": ((1, 1.5), "soft", "a frozen CNN\nsees them"),
    "03a_caption_lstm": ((2, 0), "orange", "LSTM"),
    "03b_caption_attention": ((2, 1), "orange", "attention"),
    "03c_caption_transformer": ((3, 0.5), "orange", "transformer,\nand all three"),
    "04a_dual_encoder": ((2, 3), "blue", "two towers\nfrom scratch"),
    "04b_fusion_triplet": ((3, 3), "blue", "photo and text\nin one vector"),
    "04c_pretrained_towers": ((3, 2), "blue", "pretrained\ntowers"),
    "05_openvino": ((4, 1.5), "green", "smaller and\nfaster"),
    "06_search": ((5, 1.5), "green", "search in every\ndirection"),
    "07_your_album": ((5, 3), "purple", "your own\nphotos"),
    "08_scale_out": ((5, 0), "purple", "many machines"),
}
# What a notebook needs of another.
NEEDS = (
    ("01_download", "02_features"), ("02_features", "03a_caption_lstm"), ("02_features", "03b_caption_attention"),
    ("03a_caption_lstm", "03c_caption_transformer"), ("03b_caption_attention", "03c_caption_transformer"),
    ("03b_caption_attention", "04c_pretrained_towers"), ("01_download", "04a_dual_encoder"),
    ("02_features", "04b_fusion_triplet"), ("02_features", "04c_pretrained_towers"),
    ("03c_caption_transformer", "05_openvino"), ("04a_dual_encoder", "05_openvino"),
    ("04b_fusion_triplet", "05_openvino"),
    ("04c_pretrained_towers", "05_openvino"), ("05_openvino", "06_search"), ("06_search", "07_your_album"),
    ("06_search", "08_scale_out"),
)  # fmt: skip
# Where an arrow would run under a box, it goes by this place.
BY = {
    ("02_features", "04b_fusion_triplet"): [(438, 296)],
    ("04a_dual_encoder", "05_openvino"): [(446, 295), (578, 295)],
}


def course() -> Sheet:
    sheet = Sheet(880, 400, "The map of the course: notebooks 01 to 08, and which needs which")
    width, height, gap, row = 118, 62, 145, 84
    boxes = {}
    drawn = []
    for name, ((column, place), colour, about) in NOTEBOOKS.items():
        drawn.append((name, 20 + gap * column, 54 + row * place, colour, about))
    for name, x, y, *_ in drawn:
        boxes[name] = (x, y)
    for source, target in NEEDS:
        (ax, ay), (bx, by) = boxes[source], boxes[target]
        if ax == bx:
            sheet.arrow(
                (ax + width / 2, ay + (height if by > ay else 0)), (bx + width / 2, by + (0 if by > ay else height))
            )
        else:
            by_way = BY.get((source, target), [])
            sheet.arrow((ax + width, ay + height / 2), *by_way, (bx, by + height / 2), colour="soft")
    for name, x, y, colour, about in drawn:
        sheet.box(x, y, width, height, "", colour)
        number = name.partition("_")[0]
        sheet.text(x + width / 2, y + 14, number, style="bold")
        sheet.text(x + width / 2, y + 41, about, style="small")
    for x, name, colour in ((20, "data", "soft"), (310, "captions", "orange"), (310, "search", "blue")):
        sheet.text(x, 24 if name != "search" else 384, name, "start", colour, "large")
    sheet.text(600, 24, "use", "start", "green", "large")
    return sheet
