#!/usr/bin/env python3
"""What tools/tidy.py must see, and what it must let pass: the rules that are easily blind."""
import sys
import unittest

import tidy


def lengths(path, text):
    tidy.findings.clear()
    tidy.check_lengths(path, text.split("\n"))
    return tidy.findings


LONG_BODY = "\n".join(["    work();"] * 61)


class Functions(unittest.TestCase):
    def seen(self, text):
        return [(start + 1, end + 1) for start, end in tidy.functions(text)]

    def test_a_wrapped_signature_counts_from_its_first_line(self):
        self.assertEqual(self.seen("\nint sum(int a,\n        int b) {\n    return a + b;\n}\n"), [(2, 5)])

    def test_a_body_inside_a_class_is_measured_and_the_class_is_not(self):
        self.assertEqual(self.seen("class A final : B {\npublic:\n    A() : a_{1}, b_(2) {\n        go();\n    }\nprivate:\n    int a_;\n};\n"),
                         [(2, 5)])

    def test_strings_comments_and_initialisers_open_nothing(self):
        self.assertEqual(self.seen("const char* brace = \"{\";  // {\nint table[] = {1, 2};\nchar c = '{';\nint big = 1'000;\nvoid f() {}\n"),
                         [(5, 5)])

    def test_a_long_one_is_found_wherever_it_stands(self):
        for text in (f"void f(int a,\n       int b) {{\n{LONG_BODY}\n}}\n",
                     f"struct S {{\n    void f() const {{\n{LONG_BODY}\n    }}\n}};\n"):
            self.assertIn("function of", str(lengths("lib/base/x.cpp", text)))


class Lines(unittest.TestCase):
    def test_a_quote_excuses_no_long_line(self):
        self.assertTrue(lengths("lib/base/x.cpp", "    call(\"a\", " + "b, " * 40 + "c);"))

    def test_a_lone_literal_a_raw_string_and_a_claim_may_be_long(self):
        for text in ('    "' + "x" * 120 + '",', 'R"(\n' + "x" * 120 + '\n)"', 'TEST_CASE("' + "x" * 120 + '") {'):
            self.assertEqual(lengths("test/unit/base/x.cpp", text), [])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
