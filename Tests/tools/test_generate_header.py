"""The header generator: what it reads, what it writes, and what it refuses."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import generate_header as gh

CODES = {"MRP_ERR_ARGUMENT", "MRP_ERR_IO"}
TYPES = {"mrp_status", "mrp_model", "mrp_progress_fn"}


def emitted(tmp_path, *declarations):
    path = tmp_path / "MRP-Swift.h"
    path.write_text("".join(f"SWIFT_EXTERN {d} SWIFT_NOEXCEPT SWIFT_WARN_UNUSED_RESULT;\n" for d in declarations))
    return path


def documented(parameters, result="mrp_status", doc=()):
    return gh.Documented(Path("Model.swift"), 10, result, [gh.Parameter(*p) for p in parameters], list(doc))


def function(doc, parameters=("path",), result="mrp_status"):
    """Runs the documentation checks on a function mrp_f with the given lines."""
    prototype = gh.Prototype(result, "mrp_f", [gh.Parameter(name, "int32_t") for name in parameters])
    gh.check_doc("here", prototype, gh.parse_doc(doc), CODES, {"mrp_f", "mrp_model"})


@pytest.mark.parametrize(
    ("compiler", "portable"),
    [
        ("char const * _Nullable", "const char *"),
        ("mrp_model * _Nullable * _Nullable", "mrp_model **"),
        ("char const * _Nullable * _Nonnull", "const char **"),
        ("struct mrp_model const * _Nonnull", "const mrp_model *"),
        ("int64_t", "int64_t"),
    ],
)
def test_types_have_one_spelling(compiler, portable):
    assert gh.normalise_type(compiler) == portable


@pytest.mark.parametrize(
    ("swift", "c"),
    [
        ("UnsafePointer<CChar>?", "const char *"),
        ("UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?", "mrp_model **"),
        ("UnsafeMutablePointer<UnsafePointer<CChar>?>?", "const char **"),
        ("UnsafeRawPointer?", "const void *"),
        ("UnsafeMutablePointer<Float>", "float *"),
        ("UInt64", "uint64_t"),
        ("mrp_progress_fn?", "mrp_progress_fn"),
        ("()", "void"),
        ("String", None),
        ("Int", None),
    ],
)
def test_swift_types_by_the_import_rules(swift, c):
    assert gh.swift_to_c(swift) == c


def test_reads_what_the_compiler_prints(tmp_path):
    path = emitted(
        tmp_path, "mrp_status mrp_f(mrp_model * _Nullable model, char const * _Nullable path, int64_t count)", "void mrp_g(void)"
    )
    functions = gh.read_prototypes(path, TYPES)
    assert functions["mrp_f"].parameters == [("model", "mrp_model *"), ("path", "const char *"), ("count", "int64_t")]
    assert functions["mrp_g"] == ("void", "mrp_g", [])


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("mrp_status mrp_f(NSInteger count)", "NSInteger"),
        ("BOOL mrp_f(void)", "BOOL"),
        ("size_t mrp_f(void)", "size_t"),
        ("mrp_status mrp_f(mrp_unknown * _Nullable thing)", "mrp_unknown"),
        ("mrp_status other_f(void)", "named mrp_"),
        ("mrp_status mrp_F(void)", "named mrp_"),
        ("mrp_status mrp_f(void (* _Nullable call)(int32_t))", "typedef"),
        ("mrp_status mrp_f(int64_t)", "no name"),
    ],
)
def test_refuses_what_c_callers_cannot_use(tmp_path, declaration, message):
    with pytest.raises(gh.Failure, match=message):
        gh.read_prototypes(emitted(tmp_path, declaration), TYPES)


def test_parameter_names_are_those_of_the_sources():
    prototype = gh.Prototype("mrp_status", "mrp_f", [gh.Parameter("out_", "mrp_model **")])
    merged = gh.merge({"mrp_f": prototype}, {"mrp_f": documented([("out", "UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?")])})
    assert merged["mrp_f"].parameters == [("out", "mrp_model **")]


@pytest.mark.parametrize(
    ("c", "swift", "message"),
    [
        ([("count", "int64_t")], [("count", "Int32")], "int64_t for the compiler, Int32"),
        ([("count", "int64_t")], [("number", "Int64")], "called count"),
        ([("count", "int64_t")], [], "1 parameters, the symbol graph 0"),
        ([("new_", "int64_t")], [("new", "Int64")], "keyword"),
    ],
)
def test_refuses_two_views_that_differ(c, swift, message):
    prototype = gh.Prototype("mrp_status", "mrp_f", [gh.Parameter(*p) for p in c])
    with pytest.raises(gh.Failure, match=message):
        gh.merge({"mrp_f": prototype}, {"mrp_f": documented(swift)})


def test_refuses_a_function_that_only_one_side_has():
    with pytest.raises(gh.Failure, match="mrp_f: seen by the symbol graph only"):
        gh.merge({}, {"mrp_f": documented([])})


GOOD = ["Opens a model.", "", "- Parameter path: a file.", "- Errors: MRP_ERR_IO.", "", "Since 0.1."]


def test_accepts_a_full_comment():
    function(GOOD)


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ([], "no documentation"),
        ([line for line in GOOD if "Since" not in line], "Since"),
        ([line for line in GOOD if "Errors" not in line], "Errors"),
        ([line.replace("path", "file") for line in GOOD], "describes file"),
        ([line.replace("MRP_ERR_IO", "MRP_ERR_DISK") for line in GOOD], "MRP_ERR_DISK"),
        ([line.replace("a model", "what `mrp_gone` left") for line in GOOD], "mrp_gone"),
        ([line.replace("MRP_ERR_IO", "several") for line in GOOD], "names no code"),
    ],
)
def test_refuses_documentation_that_lacks_something(doc, message):
    with pytest.raises(gh.Failure, match=message):
        function(doc)


def test_errors_belong_to_functions_that_can_fail():
    with pytest.raises(gh.Failure, match="Errors"):
        function(GOOD, result="void")


def test_comments_are_wrapped_and_keep_their_code():
    lines = [
        "Word " * 60,
        "",
        "    mrp_f(path);",
        "",
        "- Parameters:",
        "  - path: where `it` lies,",
        "    or NULL.",
        "- Errors: none.",
        "Since 0.1.",
    ]
    text = gh.comment(gh.render(gh.parse_doc(lines)), "/**")
    assert max(len(line) for line in text.splitlines()) <= gh.WIDTH
    assert " *     mrp_f(path);\n" in text
    assert " *   path  where it lies, or NULL.\n * Errors: none.\n * Since 0.1.\n */" in text


def test_a_comment_cannot_close_itself():
    with pytest.raises(gh.Failure, match="comment mark"):
        gh.comment(["a */ b"], "/**")


def test_long_prototypes_are_wrapped():
    parameters = [gh.Parameter(f"parameter_{i}", "const mrp_model *") for i in range(6)]
    lines = gh.print_prototype(gh.Prototype("mrp_status", "mrp_f", parameters)).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= gh.WIDTH
    assert lines[1].startswith(" " * len("mrp_status mrp_f("))


def test_sections_need_a_heading(tmp_path):
    path = tmp_path / "Model.swift"
    path.write_text("// # 4. Models\n//\n// What they are.\nimport CMRPTypes\n")
    assert gh.read_section(path) == (4, "Models", ["", "What they are."])
    path.write_text("import CMRPTypes\n")
    with pytest.raises(gh.Failure, match="section heading"):
        gh.read_section(path)
