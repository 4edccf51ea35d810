"""Takes a picture of the top of a page: `picture.py FILE WIDTH HEIGHT SCHEME URL`."""

import base64
import pathlib
import sys

from chromium import Chromium


def main(file, width, height, scheme, url):
    with Chromium() as browser:
        browser.show(int(width), scheme)
        browser.open(url)
        clip = {"x": 0, "y": 0, "width": int(width), "height": int(height), "scale": 1}
        picture = browser.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    pathlib.Path(file).write_bytes(base64.b64decode(picture["data"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
