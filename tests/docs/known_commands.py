"""What may stand in a command of the documentation: programs, verbs and flags that were written down here by hand, and
what this project itself has: files, targets, variables, images, services, DAGs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from include.contracts.form import FIELDS
from model_releases import ids
from tests.deploy.manifests import manifest_problems, names_of_kinds
from tests.docs.shell import UnreadableError, commands

ROOT = Path(__file__).parents[2]

#: Kubeflow Pipelines answers a token for anybody else with 401.
AUDIENCE = "pipelines.kubeflow.org"
#: Says that a reader fills something in.
PLACEHOLDER = "…"

Options = Mapping[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """How a command may go on.

    :param values: flags with a value.
    :param switches: flags without one.
    :param check: yields what is wrong with the words behind the verb and the values of its flags.
    """

    values: str = ""
    switches: str = ""
    check: Callable[[list[str], Options], Iterator[str]] = lambda words, options: iter(())


def problems(text: str) -> list[str]:
    """Return what is wrong with the commands of a text; ``<…>`` is for a reader to fill in, as ``…`` is."""
    try:
        found = commands(re.sub("<[^<>\n]+>", PLACEHOLDER, text))
        return [problem for command in found for problem in _command_problems(command)]
    except UnreadableError as error:
        return [str(error)]


def is_command(text: str) -> bool:
    """Tell whether words in a sentence are a command: a known program with something behind it."""
    program, _, rest = text.partition(" ")
    return program in PROGRAMS | {"make"} and bool(rest.strip())


def _command_problems(words: list[str]) -> Iterator[str]:
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    if not words or words[0] in _TOOLS:
        return
    if words[0] == "make":
        yield from _make(words[1:])
    elif words[:3] == ["docker", "compose", "run"]:
        yield from _compose_run(words[3:])
    elif words[:3] == ["python", "-m", "pytest"]:
        yield from _verb_problems(words[2:])
    elif words[:2] in (["python", "-m"], ["python3", "-m"]):
        yield from _module(words[2], words[3:])
    elif words[0] == "tests/real/run.sh":
        yield from _module("tests.real.__main__", words[1:])
    elif words[0] in PROGRAMS:
        yield from _verb_problems(words)
    elif "/" in words[0]:
        yield from [] if os.access(ROOT / words[0], os.X_OK) else [f"{words[0]} cannot be run"]
    else:
        yield f"{words[0]}: this program is not in the list"


def _verb_problems(words: list[str]) -> Iterator[str]:
    program, rest = words[0], words[1:]
    every = {name: verb for name, verb in VERBS.items() if name.split()[0] == program}
    with_value = {flag for verb in every.values() for flag in verb.values.split()}
    plain, options = _split(rest, with_value)
    line = " ".join([program, *plain])
    name = max((name for name in every if f"{line} ".startswith(f"{name} ")), key=len, default=None)
    if name is None:
        yield f"{line}: this verb is not in the list"
        return
    verb = every[name]
    for flag in options:
        if flag not in f"{verb.values} {verb.switches}".split():
            yield f"{name}: {flag} is not in the list"
    yield from verb.check(plain[len(name.split()) - 1 :], options)


def _split(words: list[str], with_value: set[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the words that are no flags, and flag -> its values."""
    plain: list[str] = []
    options: dict[str, list[str]] = {}
    left = iter(words)
    for word in left:
        if not word.startswith("-") or word == "-":
            plain += [word] if word != PLACEHOLDER else []
            continue
        flag, has_value, value = word.partition("=")
        options.setdefault(flag, []).append(value if has_value else next(left, "") if flag in with_value else "")
    return plain, options


# kubectl, helm


def _apply(words: list[str], options: Options) -> Iterator[str]:
    for name in options.get("-f", []):
        file = ROOT / name
        if not file.is_file() or file.name == "helm-values.yaml":
            yield f"kubectl apply: {name} is no manifest of this project"
            continue
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            yield from (f"{name}: {problem}" for problem in manifest_problems(document))


def _token(words: list[str], options: Options) -> Iterator[str]:
    if options.get("--audience") != [AUDIENCE]:
        yield f"kubectl create token: it needs --audience {AUDIENCE}"


def _objects(words: list[str], options: Options) -> Iterator[str]:
    kind = words[0].partition("/")[0] if words else ""
    if kind not in names_of_kinds():
        yield f"{kind or 'nothing'}: the cluster has no such kind of objects"


def _values_file(words: list[str], options: Options) -> Iterator[str]:
    yield from (f"helm: {name} is not there" for name in options.get("-f", []) if not (ROOT / name).is_file())


# docker


def _build(words: list[str], options: Options) -> Iterator[str]:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for stage in options.get("--target", []):
        if stage not in re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.M):
            yield f"docker build: the Dockerfile has no stage {stage}"
    for argument in options.get("--build-arg", []):
        if argument.partition("=")[0] not in re.findall(r"^ARG (\w+)", dockerfile, re.M):
            yield f"docker build: the Dockerfile has no argument {argument}"


def _services(words: list[str], options: Options) -> Iterator[str]:
    yield from (f"docker compose: there is no service {word}" for word in words if word not in _known_services())


@cache
def _known_services() -> frozenset[str]:
    return frozenset(yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"])


def _compose_run(words: list[str]) -> Iterator[str]:
    """Look at the service, and at the command that runs in it."""
    while words and words[0] == "--rm":
        words = words[1:]
    yield from _services(words[:1], {})
    yield from _command_problems(words[1:])


# Others


def _trigger(words: list[str], options: Options) -> Iterator[str]:
    models = [path.stem for path in (ROOT / "include" / "models").glob("*.yaml")]
    known = {dag_id(model) for model in models for dag_id in (ids.release_dag, ids.roll_back_dag, ids.take_over_dag)}
    yield from (f"airflow: there is no DAG {word}" for word in words if word not in known)
    yield from _json(options.get("-c", []))


def _request(words: list[str], options: Options) -> Iterator[str]:
    yield from _json([text for text in options.get("-d", []) if "$" not in text])


def _json(texts: list[str]) -> Iterator[str]:
    for text in texts:
        try:
            json.loads(text)
        except ValueError as error:
            yield f"{text} is no JSON: {error}"


def _shell(words: list[str], options: Options) -> Iterator[str]:
    yield from (problem for text in options.get("-c", []) for problem in problems(text))


def _python(words: list[str], options: Options) -> Iterator[str]:
    for text in options.get("-c", []):
        try:
            compile(text, "-c", "exec")
        except SyntaxError as error:
            yield f"python: {error}"
    files = [] if "-c" in options else words[:1]
    yield from (f"python: {name} is not there" for name in files if not (ROOT / name).is_file())


def _module(name: str, words: list[str]) -> Iterator[str]:
    """Look for a module of this project, and for the flags in its source."""
    if name == PLACEHOLDER:
        return
    path = name.replace(".", "/")
    files = [f"{path}.py", f"{path}/__main__.py"]
    found = [place / file for place in (ROOT, ROOT / "plugins") for file in files if (place / file).is_file()]
    if not found:
        yield f"python: there is no module {name}"
        return
    source = found[0].read_text(encoding="utf-8")
    flags = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
    yield from (f"python -m {name}: it knows no {flag}" for flag in sorted(flags) if f'"{flag}"' not in source)


def _pytest(words: list[str], options: Options) -> Iterator[str]:
    markers = re.findall(r'^    "(\w+): ', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    yield from (f"pytest: there is no marker {name}" for name in options.get("-m", []) if name not in markers)
    yield from (f"pytest: {name} is not there" for name in words if not (ROOT / name).exists())


#: Verbs that the documentation uses, with the flags that it may give them. `kubectl` takes a namespace everywhere.
VERBS: Mapping[str, Verb] = {
    "kubectl apply": Verb(values="-n --namespace -f", check=_apply),
    "kubectl create namespace": Verb(),
    "kubectl create secret": Verb(),
    "kubectl create secret generic": Verb(values="-n --namespace --from-literal --from-env-file"),
    "kubectl create token": Verb(values="-n --namespace --audience --duration", check=_token),
    "kubectl get": Verb(values="-n --namespace -o", check=_objects),
    "kubectl describe": Verb(values="-n --namespace", check=_objects),
    "kubectl logs": Verb(values="-n --namespace -c", switches="--previous", check=_objects),
    "kubectl port-forward": Verb(values="-n --namespace"),
    "kubectl -n": Verb(),
    "helm upgrade": Verb(values="--version -n --namespace -f --values", switches="--install", check=_values_file),
    "helm get values": Verb(),
    "docker build": Verb(values="--target --tag --build-arg --network", check=_build),
    "docker compose build": Verb(switches="--pull", check=_services),
    "docker compose down": Verb(switches="--volumes"),
    "docker compose pull": Verb(check=_services),
    "docker compose up": Verb(switches="-d", check=_services),
    "docker stats": Verb(),
    "airflow dags trigger": Verb(values="-c", check=_trigger),
    "airflow connections test": Verb(),
    "airflow dags test": Verb(),
    "airflow db check-migrations": Verb(values="-t"),
    "airflow db migrate": Verb(),
    "airflow jobs check": Verb(),
    "airflow pools set": Verb(),
    "airflow providers get": Verb(),
    "airflow scheduler": Verb(),
    "airflow standalone": Verb(),
    "airflow triggerer": Verb(),
    "mlflow db upgrade": Verb(),
    "mlflow server": Verb(values="--backend-store-uri"),
    "curl": Verb(values="-H -d -X --data-urlencode", switches="-s -G", check=_request),
    "pip check": Verb(),
    "pip install": Verb(switches="--upgrade"),
    "playwright install": Verb(),
    "pytest": Verb(values="-m", check=_pytest),
    "python": Verb(values="-c", check=_python),
    "python3": Verb(values="-c", check=_python),
    "sh": Verb(values="-c", check=_shell),
}
PROGRAMS = frozenset(name.split()[0] for name in VERBS)
#: Need no look: they only hand on what others wrote.
_TOOLS = frozenset({"base64", "export", "head", "tr"})


# make


def _make(words: list[str]) -> Iterator[str]:
    targets = [word for word in words if "=" not in word and PLACEHOLDER not in word]
    for target in targets:
        if target not in _rules():
            yield f"make: there is no target {target}"
            return
    known = {name for target in targets for name in _variables(target)}
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and name not in known:
            yield f"make {' '.join(targets)}: it reads no {name}"


@cache
def _rules() -> Mapping[str, str]:
    """Return target or variable of the Makefile -> everything that is said of it."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    rules = re.findall(r"^([a-z][a-z-]*):(?!=)(.*(?:\n\t.*)*)", text, re.M)
    return dict(rules)


@cache
def _definitions() -> Mapping[str, str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    return dict(re.findall(r"^([A-Z][A-Z_]*) *[:?]?= *(.*)$", text, re.M))


#: Read by whatever starts a part of the embedded world (scripts/environment.py), and named in no help.
_EVERYWHERE = {"AIRFLOW_PORT", "SERVING_PORT", "STATE_DIR", "MODEL_STORE", "ALERT_URL", "ALLOWED_SOURCES"}


@cache
def _variables(target: str) -> frozenset[str]:
    """Return the variables that a target reads: those of its help, of its recipe, and of what it needs."""
    text = _rules()[target]
    needed = [word for word in text.split("##")[0].split() if word in _rules()]
    names = set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", text)) | set(re.findall(r"\$\(([A-Z][A-Z_]+)\)", text))
    for name in [*names]:
        names |= set(re.findall(r"\$\(([A-Z_]+)\)", _definitions().get(name, "")))
    if "TOOL" in names:
        names |= _EVERYWHERE
    if target == "release":
        names |= {field.upper() for fields in FIELDS.values() for field in fields} | {
            "REQUIRE_APPROVAL",
            "SETTINGS_FROM",
        }
    for script in re.findall(r"scripts/(\w+)\.py", text):
        source = (ROOT / "scripts" / f"{script}.py").read_text(encoding="utf-8")
        names |= set(re.findall(r'os\.environ\.get\("([A-Z_]+)"', source))
    if "COMPOSE" in names:
        compose = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
        names |= {*re.findall(r"\$\{([A-Z_]+)", compose), *re.findall(r"^ +([A-Z_]+):$", compose, re.M)}
        names |= {"COMPOSE_PROJECT_NAME"}
    return frozenset(names.union(*map(_variables, needed)))
