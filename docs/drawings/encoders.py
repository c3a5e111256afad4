"""The drawings of notebooks 04a and 04b: two towers and their loss, and two sides that become one vector."""

import numpy as np

from docs.drawings.sheet import Box, Sheet


def two_towers() -> Sheet:
    """The cosines are those of notebook 04a, "The contrastive loss, by hand"."""
    cosines = np.array([[0.8, 0.1, 0.3], [0.2, 0.5, 0.4], [0.1, 0.6, 0.7]])
    temperature = 0.07
    logits = np.exp(cosines / temperature)
    by_photo, by_text = logits / logits.sum(1, keepdims=True), logits / logits.sum(0)
    loss = -(np.log(by_photo.diagonal()).mean() + np.log(by_text.diagonal()).mean()) / 2

    sheet = Sheet(880, 452, "Two towers, and the matrix of cosines asked along its rows and columns")
    texts = ["a dog\non grass", "a boat\nat sea", "a cat\nindoors"]
    left, top, width, height = 436, 172, 84, 58
    tower = sheet.box(150, top + 20, 130, 134, "photo tower\n\nCNN", "blue")
    for row in range(3):
        y = top + (row + 0.5) * height
        photo = sheet.photo(30, y - 22, 60, 44)
        sheet.arrow(photo.right, (149, tower.centre[1] + (y - tower.centre[1]) * 0.6))
        sheet.text(104, y - 14, str(row + 1), style="small")
        vector = sheet.cells(316, y - 9, 18, 18, [[""] * 5], "blue")
        sheet.arrow((281, tower.centre[1] + (y - tower.centre[1]) * 0.6), vector.left)
    reader = sheet.box(left + 20, 76, 212, 38, "text tower: LSTM, both ways", "orange")
    for column, text in enumerate(texts):
        x = left + (column + 0.5) * width
        sheet.text(x, 28, text, style="small")
        sheet.arrow((x, 48), (reader.centre[0] + (x - reader.centre[0]) * 0.8, 75))
        vector = sheet.cells(x - 30, 130, 12, 18, [[""] * 5], "orange")
        sheet.arrow((reader.centre[0] + (x - reader.centre[0]) * 0.8, 114), (x, 129))
    colours = [["green" if row == column else "soft" for column in range(3)] for row in range(3)]
    matrix = sheet.cells(
        left, top, width, height, [[f"{value:.1f}" for value in row] for row in cosines], np.array(colours)
    )
    for row in range(3):
        y = top + (row + 0.5) * height
        sheet.arrow((407, y), (left - 1, y))
        sheet.arrow((matrix.x + matrix.width + 6, y), (716, y), colour="blue")
        sheet.text(724, y, f"{100 * by_photo[row, row]:.0f} % on its own text", "start", "blue", "small")
    for column in range(3):
        x = left + (column + 0.5) * width
        sheet.arrow((x, matrix.y + matrix.height + 6), (x, 374), colour="orange")
        sheet.text(x, 384, f"{100 * by_text[column, column]:.0f} %", colour="orange", style="small")
    sheet.text(724, 146, "softmax along a row:\nwhich text?", "start", "blue", "small")
    sheet.text(left - 12, 376, "softmax along a column:\nwhich photo?", "end", "orange", "small")
    sheet.text(left + 1.5 * width, 404, "on its own photo", colour="orange", style="small")
    said = f"Green is right; cosines / {temperature}. Loss: the mean −log of the six shares, {loss:.2f}. "
    said += f"Knowing nothing: {np.log(3):.2f}."
    sheet.text(24, 430, said, "start")
    return sheet


def fusion() -> Sheet:
    sheet = Sheet(880, 330, "Fusion: photo and sentence pass through a layer each and become one vector")

    def side(y: float, source: Box, frozen: str, numbers: str, colour: str, missing: float) -> None:
        network = sheet.box(140, y - 26, 150, 52, f"{frozen}\nfrozen", "soft")
        sheet.arrow(source.right, network.left)
        layer = sheet.box(360, y - 26, 110, 52, "layer, ReLU", colour)
        sheet.arrow(network.right, layer.left)
        sheet.text(325, y - 12, numbers, style="small")
        sheet.cells(534, y - 10, 20, 20, [[""] * 5], colour)
        sheet.arrow(layer.right, (533, y))
        sheet.cells(534, missing - 10, 20, 20, [[""] * 5], "purple")
        sheet.arrow(
            (584, missing + (12 if missing < y else -12)),
            (584, y + (-12 if missing < y else 12)),
            colour="purple",
            style="dashed",
        )

    photo = sheet.photo(30, 80, 76, 60)
    sentence = sheet.box(22, 196, 92, 44, "a dog runs\non the grass", "orange", "small")
    side(110, photo, "backbone", "1,280", "blue", 50)
    side(218, sentence, "sentence encoder", "512", "orange", 278)
    sheet.text(524, 50, "no photo: 256 learned numbers", "end", "purple", "small")
    sheet.text(524, 278, "no sentence: 256 others", "end", "purple", "small")
    join = sheet.box(690, 138, 70, 52, "layer", "green")
    sheet.text(644, 110, "256", "start", style="small")
    sheet.text(644, 218, "256", "start", style="small")
    sheet.arrow((676, 110), (725, 110), join.top)
    sheet.arrow((676, 218), (725, 218), join.bottom)
    vector = sheet.cells(796, 124, 20, 20, [[""]] * 4, "green")
    sheet.arrow(join.right, vector.left)
    sheet.text(806, 230, "128 numbers,\nof length 1", style="small")
    sheet.text(584, 164, "side by side: 512", style="small")
    sheet.text(
        24,
        308,
        "Trained are the three layers and the stand-ins. Photos, sentences and both land in one space.",
        "start",
    )
    return sheet
