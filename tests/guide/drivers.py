"""Run a snippet of the guide in its own language over many requests; say which it believed."""

import base64
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60


@dataclass(frozen=True)
class Request:
    """What a receiver holds in its hands."""

    secret: str
    headers: dict[str, str]
    body: bytes


def _run(folder: Path, *command: str, stdin: bytes = b"", **env: str) -> tuple[int, str]:
    done = subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False,
        env=os.environ | env,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def _all_at_once(folder: Path, requests: Sequence[Request], *command: str) -> list[bool]:
    """Run a program that reads the requests as JSON and prints `yes` or `no` for each."""
    cases = [
        {
            "secret": one.secret,
            "headers": one.headers,
            "body": base64.b64encode(one.body).decode(),
        }
        for one in requests
    ]
    code, output = _run(folder, *command, stdin=json.dumps(cases).encode())
    assert code == 0, output
    words = output.split()
    assert len(words) == len(requests), output
    return [word == "yes" for word in words]


def python(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    import sys

    folder.joinpath("snippet.py").write_text(snippet, "utf-8")
    folder.joinpath("main.py").write_text(
        "import base64, json, sys\n"
        "from snippet import verify\n"
        "for case in json.load(sys.stdin):\n"
        "    body = base64.b64decode(case['body'])\n"
        "    try:\n"
        "        event = verify(case['secret'], case['headers'], body)\n"
        "        assert event == json.loads(body)\n"
        "        print('yes')\n"
        "    except ValueError:\n"
        "        print('no')\n"
    )
    return _all_at_once(folder, requests, sys.executable, "-W", "error", "main.py")


def node(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    folder.joinpath("snippet.mjs").write_text(snippet, "utf-8")
    folder.joinpath("main.mjs").write_text(
        'import { readFileSync } from "node:fs";\n'
        'import { verify } from "./snippet.mjs";\n'
        'for (const { secret, headers, body } of JSON.parse(readFileSync(0, "utf8"))) {\n'
        "  try {\n"
        '    const event = verify(secret, headers, Buffer.from(body, "base64"));\n'
        '    console.log(event.id ? "yes" : "empty");\n'
        "  } catch (fault) {\n"
        '    console.log(fault.constructor === Error ? "no" : "broken:" + fault.name);\n'
        "  }\n"
        "}\n"
    )
    return _all_at_once(folder, requests, "node", "main.mjs")


def ruby(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    folder.joinpath("snippet.rb").write_text(snippet, "utf-8")
    folder.joinpath("main.rb").write_text(
        'require_relative "snippet"\n'
        "JSON.parse($stdin.read).each do |one|\n"
        '  verify(one["secret"], one["headers"], one["body"].unpack1("m"))\n'
        '  puts "yes"\n'
        "rescue ArgumentError\n"
        '  puts "no"\n'
        "end\n"
    )
    return _all_at_once(folder, requests, "ruby", "main.rb")


def php(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    folder.joinpath("snippet.php").write_text(snippet, "utf-8")
    folder.joinpath("main.php").write_text(
        "<?php require 'snippet.php';\n"
        "foreach (json_decode(stream_get_contents(STDIN), true) as $one) {\n"
        "  try {\n"
        "    verify($one['secret'], $one['headers'], base64_decode($one['body']));\n"
        '    echo "yes\\n";\n'
        '  } catch (InvalidArgumentException) { echo "no\\n"; }\n'
        "}\n"
    )
    return _all_at_once(folder, requests, "php", "main.php")


def go(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    folder.joinpath("go.mod").write_text("module example\n\ngo 1.20\n")
    folder.joinpath("webhook").mkdir()
    folder.joinpath("webhook", "webhook.go").write_text(snippet, "utf-8")
    folder.joinpath("main.go").write_text(
        'package main\n\nimport (\n\t"encoding/json"\n\t"example/webhook"\n\t"fmt"\n'
        '\t"net/http"\n\t"os"\n)\n\n'
        "func main() {\n"
        "\tvar cases []struct {\n\t\tSecret  string\n\t\tHeaders map[string]string\n"
        "\t\tBody    []byte\n\t}\n"
        "\tif err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {\n\t\tpanic(err)\n\t}\n"
        "\tfor _, one := range cases {\n"
        "\t\theader := http.Header{}\n"
        "\t\tfor name, value := range one.Headers {\n\t\t\theader.Set(name, value)\n\t\t}\n"
        "\t\tif webhook.Verify(one.Secret, header, one.Body) == nil {\n"
        '\t\t\tfmt.Println("yes")\n\t\t} else {\n\t\t\tfmt.Println("no")\n\t\t}\n\t}\n}\n'
    )
    return _all_at_once(folder, requests, "go", "run", ".")


def java(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    """Each request is three files of arguments: Java brings no JSON."""
    folder.joinpath("Webhook.java").write_text(snippet, "utf-8")
    folder.joinpath("Main.java").write_text(
        "import java.nio.file.*; import java.util.*;\n"
        "public class Main { public static void main(String[] names) throws Exception {\n"
        "  for (String name : names) {\n"
        "    Map<String, String> headers = new HashMap<>();\n"
        '    for (String line : Files.readAllLines(Path.of(name + ".headers")))\n'
        '      headers.put(line.split(": ", 2)[0], line.split(": ", 2)[1]);\n'
        "    try {\n"
        '      Webhook.verify(Files.readString(Path.of(name + ".secret")), headers,\n'
        '          Files.readAllBytes(Path.of(name + ".body")));\n'
        '      System.out.println("yes");\n'
        "    } catch (java.security.GeneralSecurityException fault) {\n"
        '      System.out.println("no");\n'
        "    }\n  }\n}}\n"
    )
    names = [f"case{number}" for number in range(len(requests))]
    for name, one in zip(names, requests, strict=True):
        lines = [f"{key}: {value}" for key, value in one.headers.items()]
        folder.joinpath(f"{name}.headers").write_text("\n".join(lines), "utf-8")
        folder.joinpath(f"{name}.secret").write_text(one.secret, "utf-8")
        folder.joinpath(f"{name}.body").write_bytes(one.body)
    code, output = _run(folder, "javac", "-Werror", "-Xlint:all", "Webhook.java", "Main.java")
    assert code == 0, output
    code, output = _run(folder, "java", "-XX:TieredStopAtLevel=1", "-cp", ".", "Main", *names)
    assert code == 0, output
    return [word == "yes" for word in output.split()]


def csharp(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    folder.joinpath("Webhook.cs").write_text(snippet, "utf-8")
    folder.joinpath("app.csproj").write_text(
        '<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType>'
        "<TargetFramework>net$(BundledNETCoreAppTargetFrameworkVersion)</TargetFramework>"
        "</PropertyGroup></Project>"
    )
    folder.joinpath("Main.cs").write_text(
        "using System; using System.Collections.Generic; using System.Text.Json;\n"
        "foreach (var one in JsonDocument.Parse(Console.In.ReadToEnd()).RootElement"
        ".EnumerateArray()) {\n"
        '  var headers = one.GetProperty("headers").Deserialize<Dictionary<string, string>>();\n'
        "  try {\n"
        '    Webhook.Verify(one.GetProperty("secret").GetString(), headers,'
        ' one.GetProperty("body").GetBytesFromBase64());\n'
        '    Console.WriteLine("yes");\n'
        "  } catch (System.Security.Cryptography.CryptographicException) {\n"
        '    Console.WriteLine("no");\n  }\n}\n'
    )
    return _all_at_once(folder, requests, "dotnet", "run")


def shell(snippet: str, folder: Path, requests: Sequence[Request]) -> list[bool]:
    """The script takes its headers by name, so that one that is absent ends it at once."""
    folder.joinpath("verify.sh").write_text(snippet, "utf-8")
    believed = []
    for one in requests:
        lower = {name.lower(): value for name, value in one.headers.items()}
        env = {"SECRET": one.secret} | {
            name: lower[f"x-oneprotect-{name.lower()}"]
            for name in ("ID", "TIMESTAMP", "SIGNATURE")
            if f"x-oneprotect-{name.lower()}" in lower
        }
        code, output = _run(folder, "bash", "verify.sh", stdin=one.body, **env)
        assert (code == 0) == ("it fits" in output), output
        believed.append(code == 0)
    return believed


DRIVERS: dict[str, Callable[[str, Path, Sequence[Request]], list[bool]]] = {
    "python": python,
    "node": node,
    "go": go,
    "ruby": ruby,
    "php": php,
    "java": java,
    "csharp": csharp,
    "shell": shell,
}
