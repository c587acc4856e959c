"""Holds what kustomize renders against Kubernetes' schemas and against the product."""

import os
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
GRIDWAY = Path(os.environ["GRIDWAY_BIN"]) / "gridway"
# The oldest that has pod indexes as labels, and the newest that the schemas know.
VERSIONS = ("1.28", "1.37")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def pods(objects):
    """Each pod template with the object that makes it."""
    for item in objects:
        template = item.get("spec", {}).get("template")
        if template:
            yield item, template["spec"]


def main():
    rendered = output(sys.argv[1], "build", str(ROOT / "k8s"))
    objects = list(yaml.safe_load_all(rendered))
    secret = yaml.safe_load((ROOT / "k8s/secret.example.yaml").read_text())
    wrong = []
    for item in [*objects, secret]:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                wrong.append(f"{item['kind']} {item['metadata']['name']} ({version}): {error.message}")

    # Each processor of the binary runs, and nothing else is taken for one.
    refused = subprocess.run([GRIDWAY, "processors"], capture_output=True, text=True, check=True)
    there = set(refused.stdout.split())
    deployed = {
        container["args"][2]
        for _, spec in pods(objects)
        for container in spec["containers"]
        if container["args"][:2] == ["serve", "processor"]
    }
    wrong += [f"no manifest runs the processor {name}" for name in sorted(there - deployed)]
    wrong += [f"there is no processor {name}" for name in sorted(deployed - there)]

    # What must be set is set; what is set is a setting; secrets come from the secret alone.
    table = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", output(GRIDWAY, "configuration"), re.M)
    settings = {name: (default, doc.endswith("Secret.")) for name, default, doc in table}
    config = next(o for o in objects if o["kind"] == "ConfigMap")["data"]
    for name, (default, is_secret) in settings.items():
        named = f"{name}_FILE" if is_secret else name
        if default == "must be set" and named not in config:
            wrong.append(f"{named} is not set")
    for name, value in config.items():
        setting = name.removesuffix("_FILE")
        if name == "RUST_LOG":
            continue
        if setting not in settings:
            wrong.append(f"{name} is no setting")
        elif settings[setting][1] != name.endswith("_FILE"):
            wrong.append(f"{name}: a secret is a file, and nothing else is")
        elif name.endswith("_FILE") and Path(value).name not in secret["stringData"]:
            wrong.append(f"{name}: the secret has no key {Path(value).name}")

    # Every container is confined and sees the secrets.
    for item, spec in pods(objects):
        for container in spec["containers"] + spec.get("initContainers", []):
            at = f"{item['metadata']['name']}/{container['name']}"
            confined = container.get("securityContext", {})
            if not confined.get("readOnlyRootFilesystem") or confined.get("allowPrivilegeEscalation") is not False:
                wrong.append(f"{at} is not confined")
            if {"name": "secrets", "mountPath": "/run/secrets/gridway", "readOnly": True} not in container["volumeMounts"]:
                wrong.append(f"{at} does not see its secrets")

    print("\n".join(wrong))
    print(f"k8s: {len(objects)} objects, {len(there)} processors, {len(config)} settings, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


main()
