import pytest

from schemas.errors import ConfigError
from transforms.prompts.templates import Template, load_template

LABELS = [{"name": "PER", "description": "people"}, {"name": 'the "new"', "description": ""}]

TOML = """
name = "short"
format = "json"
system = "Labels: {% for label in labels %}{{ label.name }} {% endfor %}"
user = "{{ text }}"
"""


def _write(folder, content):
    path = folder / "own.toml"
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_a_template_of_ones_own_is_a_file(tmp_path):
    template = load_template(_write(tmp_path, TOML))
    assert (template.name, template.format) == ("short", "json")
    assert template.render_system(LABELS) == 'Labels: PER the "new"'
    assert template.render_user(LABELS, text="Anna {{ 1 }} <b>", label=LABELS[0]) == "Anna {{ 1 }} <b>"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("json", '{"PER": ["...", "..."], "the \\"new\\"": []}'),
        ("marks", "<PER>entity</PER>"),
        ("questions", '["...", "..."]'),
    ],
)
def test_the_shipped_templates_show_the_shape_of_answers(name, shape):
    template = load_template(name)
    assert (template.name, template.format) == (name, name)
    assert shape in template.render_system(LABELS)
    asked = template.render_system(LABELS) + template.render_user(LABELS, text="Anna", label=LABELS[0])
    assert "PER" in asked
    assert "people" in asked
    assert "Anna" in asked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('format = "json"', 'format = "jsn"'),
            "expected a format of ['json', 'marks', 'questions'], found 'jsn'; did you mean 'json'?",
        ),
        (("user =", "usr ="), "'usr'; did you mean 'user'?"),
        (('name = "short"', ""), "found no 'name'; add it"),
        (('name = "short"', "name = 3"), "expected text for name, found 3"),
        (("{{ text }}", "{{ text }"), "expected jinja2 for user, found unexpected '}' in line 1 of it"),
        (("{{ text }}", "{{ txt }}"), "expected user to use ['labels', 'text'], found 'txt'; did you mean 'text'?"),
        (("{{ text }}", "Which?"), "expected user to use ['text'], found no {{ text }} in it; add it"),
        (("Labels:", "{{ text }}"), "expected system to use ['labels'], found 'text'"),
        (("label.name", "label.nmae"), "expected system to be rendered, found an error"),
        (("label.name", "label.name.__class__.__mro__"), "expected system to be rendered, found an error"),
        (("label.name", "label.name / 2"), "expected system to be rendered, found an error"),
        (("label.name", "label.name | nofilter"), "expected jinja2 for system, found No filter named 'nofilter'"),
        (
            ('format = "json"', 'format = "questions"'),
            "expected user to use ['text', 'label'], found no {{ label }} in it",
        ),
        (("user =", "= user"), "expected a template in TOML, found"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_with_its_file(tmp_path, change, message):
    path = _write(tmp_path, TOML.replace(*change))
    with pytest.raises(ConfigError) as error:
        load_template(path)
    assert message in str(error.value)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["\xff".encode("latin-1"), b""])
def test_a_file_that_is_no_template_is_refused(tmp_path, content):
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.toml"):
        load_template(str(path))


def test_a_template_that_is_not_there_is_refused():
    with pytest.raises(
        ConfigError, match=r"expected a template of \['json', 'marks', 'questions'\] or a TOML file, found 'jso'; did"
    ):
        load_template("jso")


def test_the_digest_changes_with_what_a_template_says_and_not_with_its_comments(tmp_path):
    own = load_template(_write(tmp_path, TOML)).describe()
    assert own["name"] == "short"
    assert load_template(_write(tmp_path, f"# why\n{TOML}")).describe() == own
    assert load_template(_write(tmp_path, TOML.replace("Labels", "Names"))).describe()["digest"] != own["digest"]


def test_a_template_can_be_built_without_a_file():
    with pytest.raises(ConfigError, match=r"no \{\{ text \}\}"):
        Template(name="x", format="json", system="", user="")
