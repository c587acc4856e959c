"""Starts the product on its sandbox, makes a person of each role, and lets schemathesis loose."""
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import jwt
import requests

BIN = pathlib.Path(os.environ["GRIDWAY_BIN"])
ST = sys.argv[1]
ROLES = ["user", "node_operator", "dashboard_operator", "admin", "auditor"]
PASSWORD = "a password of the sandbox"
SECONDS = os.environ.get("SCHEMATHESIS_SECONDS", "10")
# How long a role may take, whatever the tool is at.
AT_MOST = 200
# Roles at a time. Each has its own process with one worker: up to Python 3.11 a second thread that
# parses Python, as hypothesis does, makes `ast.parse` fail with "AST constructor recursion depth
# mismatch" (python/cpython#106905), because hypothesis' callback of the garbage collector lets the
# other thread in while a tree is being built.
AT_ONCE = int(os.environ.get("SCHEMATHESIS_ROLES", "2"))


def start(tmp):
    file = tmp / "environment"
    process = subprocess.Popen([BIN / "gridway", "up", "--environment", file], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "Gridway is up" in line:
            break
    else:
        sys.exit(f"gridway up ended with {process.wait()}")
    pairs = (line.split("=", 1) for line in file.read_text().splitlines())
    return process, {name.removeprefix("export "): value.strip("'") for name, value in pairs}


def users(environment, *arguments, stdin=""):
    """`gridway users …`, as who sets an installation up runs it."""
    done = subprocess.run([BIN / "gridway", "users", *arguments], input=stdin, env={**os.environ, **environment},
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def login(api, email):
    answer = requests.post(f"{api}/auth/login", json={"email": email, "password": PASSWORD}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def person(api, environment, role):
    email = f"{role.replace('_', '-')}@example.org"
    users(environment, "create", email, stdin=PASSWORD + "\n")
    if role != "user":
        users(environment, "grant", email, role)
        users(environment, "revoke", email, "user")
    return login(api, email)


def keys_are_understood_by_others(api, token):
    """The token is verified with nothing but the published keys, by somebody else's library."""
    client = jwt.PyJWKClient(f"{api}/.well-known/jwks.json")
    key = client.get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="gridway-api", issuer="https://gridway.dev",
                        options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub"]})
    assert claims["roles"] == ["user"], claims
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt"), header
    head, payload, signature = token.split(".")
    for forged in [f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload[:-2]}AA.{signature}"]:
        try:
            jwt.decode(forged, key, algorithms=["EdDSA"], audience="gridway-api")
        except jwt.InvalidTokenError:
            continue
        raise AssertionError("a forged token was believed")
    published = requests.get(f"{api}/.well-known/jwks.json", timeout=20).json()["keys"]
    assert all(set(key) == {"kty", "crv", "use", "alg", "kid", "x"} for key in published), published
    print(f"PyJWT verifies our tokens with the {len(published)} published keys")


def documentation_is_whole(api):
    """The pages of /docs come from the binary: every file that they ask for is there."""
    page = requests.get(f"{api}/docs/", timeout=20)
    assert page.status_code == 200 and "swagger-ui" in page.text, page.text[:200]
    assert "https://" not in page.text.replace("https://gridway.dev", ""), page.text
    for name in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-initializer.js"]:
        assert requests.get(f"{api}/docs/{name}", timeout=20).status_code == 200, name
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "default-src 'none'" in policy, policy


def held_to_its_contract(api, role, token):
    """Schemathesis as somebody with the role; gives whether all was well, and what is to be said of it."""
    begun = time.monotonic()
    command = [ST, "--no-color", "--config-file", "schemathesis.toml", "run", f"{api}/openapi.yaml", "--url", api, "--checks", "all",
               "--header", f"Authorization: Bearer {token}", "--max-time", SECONDS, "--max-examples", "20",
               "--workers", "1", "--request-timeout", "30"]
    try:
        done = subprocess.run(command, text=True, capture_output=True, cwd=pathlib.Path(__file__).parent, timeout=AT_MOST)
    except subprocess.TimeoutExpired as late:
        return False, f"{role}: FAILED, not done after {AT_MOST} s\n{(late.stdout or b'').decode()[-3000:]}"
    summary = [line for line in done.stdout.splitlines() if line.strip()]
    said = (f"{role}: {'passed' if done.returncode == 0 else 'FAILED'} in {time.monotonic() - begun:.0f} s; "
            f"{' '.join(summary[-1].strip('= ').split()) if summary else ''}")
    if done.returncode != 0:
        said += f"\n{done.stdout[-12000:]}{done.stderr[-3000:]}"
    return done.returncode == 0, said


def main():
    with tempfile.TemporaryDirectory() as tmp:
        process, environment = start(pathlib.Path(tmp))
        try:
            api = environment["GRIDWAY_API_URL"]
            tokens = {role: person(api, environment, role) for role in ROLES}
            keys_are_understood_by_others(api, tokens["user"])
            documentation_is_whole(api)
            begun = time.monotonic()
            well = True
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                runs = [pool.submit(held_to_its_contract, api, role, token) for role, token in tokens.items()]
                for run in runs:
                    passed, said = run.result()
                    well = well and passed
                    print(said, flush=True)
            print(f"{len(tokens)} roles in {time.monotonic() - begun:.0f} s")
            return 0 if well else 1
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
