"""A small MCP server over standard input and output, run by real agents: `python mcp_server.py FOLDER`.

Tools `read_file{path}` and `write_file{path, content}` as the well-known filesystem server has them, and `fail{}`.
Protocol: modelcontextprotocol.io/specification, JSON-RPC 2.0, a message a line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_TEXT = {"type": "string"}
_TOOLS = [
    {"name": "read_file", "fields": ("path",), "description": "Read a file"},
    {"name": "write_file", "fields": ("path", "content"), "description": "Write a file"},
    {"name": "fail", "fields": (), "description": "Always fails"},
]


def answer(message: Json, folder: Path) -> Json | None:
    """The result of a request; None for methods that this server has not."""
    params = message.get("params") or {}
    if message["method"] == "initialize":
        server = {"name": "files", "version": "1"}
        version = params.get("protocolVersion", "2025-06-18")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
    if message["method"] == "tools/list":
        return {"tools": [_described(tool) for tool in _TOOLS]}
    if message["method"] == "tools/call":
        try:
            text, failed = call(params["name"], params.get("arguments") or {}, folder), False
        except (OSError, ValueError) as error:
            text, failed = f"Error: {error}", True
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {} if message["method"] == "ping" else None


def call(name: str, given: Json, folder: Path) -> str:
    """Raises OSError for files that cannot be read or written, ValueError from the tool that always fails."""
    if name == "fail":
        raise ValueError("this tool always fails")
    path: Path = folder / given["path"]
    if name == "read_file":
        return path.read_text("utf-8")
    path.write_text(given["content"], "utf-8")
    return f"Successfully wrote to {given['path']}"


def _described(tool: Json) -> Json:
    schema = {"type": "object", "properties": dict.fromkeys(tool["fields"], _TEXT), "required": list(tool["fields"])}
    return {"name": tool["name"], "description": tool["description"], "inputSchema": schema}


def main() -> None:
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue  # a notification
        result = answer(message, folder)
        body = {"result": result} if result is not None else {"error": {"code": -32601, "message": "no such method"}}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
