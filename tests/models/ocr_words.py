"""Words as pictures for PP-OCR's recogniser, and how many of them were read.

ocr_words.py render FOLDER TEXT…: the first 240 words of the texts, drawn with Pillow's own font, as FOLDER/words.txt,
FOLDER/all.npy f32[240,3,48,192], and some of them as FOLDER/data/words.npy for calibration.
ocr_words.py score MODEL.onnx FOLDER OUTPUT.npy…: for each output, the part of the words that it reads right."""
import pathlib
import re
import sys

import numpy as np

COUNT, CALIBRATION, HEIGHT, WIDTH = 240, 32, 48, 192


def render(folder, texts):
    from PIL import Image, ImageDraw, ImageFont

    found = dict.fromkeys(w for t in texts for w in re.findall(r"[A-Za-z]{4,8}", pathlib.Path(t).read_text()))
    words = list(found)[:COUNT + CALIBRATION]
    assert len(words) == COUNT + CALIBRATION, f"{len(words)} words"
    rng = np.random.default_rng(0)
    pictures = np.empty((len(words), 3, HEIGHT, WIDTH), np.float32)
    for i, word in enumerate(words):
        paper, ink = int(rng.integers(170, 256)), int(rng.integers(0, 90))
        picture = Image.new("L", (WIDTH, HEIGHT), paper)
        size = int(rng.integers(28, 37))
        font = ImageFont.load_default(size)
        while font.getlength(word) > WIDTH - 12:
            size -= 1
            font = ImageFont.load_default(size)
        ImageDraw.Draw(picture).text((6, int(rng.integers(0, 6))), word, ink, font=font)
        noisy = np.asarray(picture, np.float32) + rng.normal(0, 6, (HEIGHT, WIDTH)).astype(np.float32)
        pictures[i] = (np.clip(noisy, 0, 255) / 255 - 0.5) / 0.5
    (folder / "data").mkdir(parents=True, exist_ok=True)
    np.save(folder / "all.npy", pictures[:COUNT])
    np.save(folder / "data" / "words.npy", pictures[COUNT:])
    (folder / "words.txt").write_text("\n".join(words[:COUNT]))


def score(model, folder, outputs):
    import onnx

    properties = {p.key: p.value for p in onnx.load(model).metadata_props}
    alphabet = ["", *properties["character"].splitlines(), " "]
    words = (folder / "words.txt").read_text().splitlines()
    for output in outputs:
        best = np.load(output).argmax(-1)
        read = ["".join(alphabet[k] for j, k in enumerate(row) if k and (j == 0 or row[j - 1] != k)).strip() for row in best]
        print(sum(a == b for a, b in zip(read, words)) / len(words))


if sys.argv[1] == "render":
    render(pathlib.Path(sys.argv[2]), sys.argv[3:])
else:
    score(sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4:])
