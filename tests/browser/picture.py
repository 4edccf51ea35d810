"""Takes a picture of the first screen of a page: `picture.py FILE WIDTH SCHEME URL`."""

import base64
import pathlib
import sys

from chromium import Chromium


def main(file, width, scheme, url):
    with Chromium() as browser:
        browser.show(int(width), scheme)
        browser.open(url)
        height = browser.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": int(width), "height": min(height, 1200), "scale": 1}
        picture = browser.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    pathlib.Path(file).write_bytes(base64.b64decode(picture["data"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
