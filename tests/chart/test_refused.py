"""Tests that Helm 3 and Helm 4 reject each file of refused/ on top of the smallest valid values. The first line of a file
is a pattern of the error."""

import re
import unittest
from pathlib import Path

from helm import HELMS, SMALLEST, Refused, text

FILES = sorted((Path(__file__).parent / "refused").glob("*.yaml"))


class RefusedValues(unittest.TestCase):
    def test_each_is_refused_with_its_reason(self):
        self.assertTrue(FILES)
        for file in FILES:
            pattern = file.read_text().splitlines()[0].removeprefix("# ")
            for helm in HELMS:
                with self.subTest(file=file.stem, helm=helm):
                    with self.assertRaises(Refused) as refused:
                        text(helm, SMALLEST, file)
                    self.assertRegex(str(refused.exception), re.compile(pattern))


if __name__ == "__main__":
    unittest.main()
