"""Who answers a call, by the host of its upstream, in the words of the price table; and under which names that one's
models may stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

# A host, or a domain above it, and whose it is.
_HOSTS = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "chatgpt.com": "chatgpt",
    "generativelanguage.googleapis.com": "gemini",
    "cloudcode-pa.googleapis.com": "codeassist",
    "aiplatform.googleapis.com": "vertex_ai",
    "amazonaws.com": "bedrock",
    "openai.azure.com": "azure",
    "services.ai.azure.com": "azure_ai",
    "openrouter.ai": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zai",
    "api.minimax.io": "minimax",
    "api.cerebras.ai": "cerebras",
    "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
    "api.deepinfra.com": "deepinfra",
    "aliyuncs.com": "dashscope",
    "ai-gateway.vercel.sh": "vercel_ai_gateway",
    "api.githubcopilot.com": "github_copilot",
    "api.perplexity.ai": "perplexity",
    "api.novita.ai": "novita",
    "api.sambanova.ai": "sambanova",
    "inference.baseten.co": "baseten",
}
# Upstreams whose name says it where the host does not: a gateway, or a tunnel, on the way to them.
_NAMES = {"vertex": "vertex_ai"}
_KNOWN = frozenset({*_HOSTS.values(), "bedrock", "vertex_ai"})

# At whose list price a provider's models are told when it has none of its own for them: the same maker sells them.
_STAND_INS = {
    "chatgpt": ("openai",),
    "codeassist": ("gemini", "vertex_ai"),
    "gemini": ("vertex_ai",),
    "vertex_ai": ("gemini",),
    "azure": ("openai",),
    "azure_ai": ("azure", "openai"),
    "": ("anthropic", "openai", "gemini", "vertex_ai"),
}
_PREFIXES = {
    "anthropic": ("",),
    "openai": ("",),
    "bedrock": ("", "bedrock/"),
    "gemini": ("gemini/", ""),
    "vertex_ai": ("vertex_ai/", ""),
}
_GEO = re.compile(r"\A(?:us|eu|apac|jp|au|ca|us-gov|global)\.(?=[a-z0-9]+\.)")
_DATE = re.compile(r"(?:[-@](?:20\d{6}|20\d\d-\d\d-\d\d)|@default|@latest|-latest)\Z")
_REVISION = re.compile(r"(?:-v\d+)?(?::\d+)\Z|-v\d+\Z")
_AWS_REGION = re.compile(r"\.([a-z]{2}(?:-gov)?-[a-z]+-\d)\.")
_LOCATION = re.compile(r"/locations/([a-z0-9-]+)/")


def provider_of(upstream: str, url: str) -> str:
    """The provider behind an upstream, by its host, else by its name in the configuration; empty: not known."""
    host = (urlsplit(url).hostname or "").lower()
    for known, provider in _HOSTS.items():
        if host == known or host.endswith(("." + known, "-" + known)):
            return provider
    name = _NAMES.get(upstream, upstream)
    return name if name in _KNOWN else ""


def places_of(provider: str, url: str, path: str) -> tuple[str, ...]:
    """Where it runs, as far as host and path say it: names of `Price.places`, and the region of a Bedrock host."""
    host = (urlsplit(url).hostname or "").lower()
    if provider == "openai" and host != "api.openai.com" and host.endswith(".api.openai.com"):
        return (host.partition(".")[0],)
    if provider == "vertex_ai" and (found := _LOCATION.search(path)) and found[1] != "global":
        return ("regional",)
    if provider == "bedrock" and (found := _AWS_REGION.search(host)):
        return (found[1],)
    return ()


def model_in(provider: str, path: str) -> str | None:
    """The model that a path names, more exactly than the reply: Bedrock's ids carry the place, Vertex's the date."""
    if provider == "bedrock" and (found := re.search(r"/model/([^/?]+)/", path)):
        return found[1].replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/")
    if provider == "vertex_ai" and (found := re.search(r"/models/([^/:?%]+)", path)):
        return found[1].replace("%40", "@")
    return None


def stand_ins(provider: str) -> tuple[str, ...]:
    """Other providers at whose prices this one's models may be told, in order."""
    return _STAND_INS.get(provider, ())


def is_of(entry: str, provider: str) -> bool:
    """Whether the provider that an entry of the table names is this one (the table has finer words for some)."""
    return entry == provider or entry.startswith(
        (provider + "-", provider + "_converse", "text-completion-" + provider)
    )


def keys(provider: str, model: str, places: tuple[str, ...]) -> Iterator[str]:
    """The names under which the table may have the model of this provider, the most exact first."""
    prefixes = _PREFIXES.get(provider, (provider + "/", "")) if provider else ("",)
    if provider == "bedrock":
        prefixes = (*(f"bedrock/{place}/" for place in places), *prefixes)
    for name in _names(model, provider):
        for prefix in prefixes:
            yield prefix + name


def _names(model: str, provider: str) -> Iterator[str]:
    """The model as named, then without what only says which edition of it this is."""
    name = model.removeprefix("models/")
    if provider == "bedrock":
        name = name.rpartition("/")[2] if name.startswith("arn:") else name
    if name.startswith("ft:"):  # ft:MODEL:ORGANISATION::ID
        name = ":".join(name.split(":")[:2])
    yield name
    if provider == "bedrock":
        yield from _editions(name)
        if _GEO.match(name):
            yield from _editions(_GEO.sub("", name))
        return
    if name.endswith("]"):  # Claude Code's mark of a longer context: claude-sonnet-4-5[1m]
        name = name.partition("[")[0]
        yield name
    while _DATE.search(name):
        name = _DATE.sub("", name)
        yield name


def _editions(name: str) -> Iterator[str]:
    yield name
    yield re.sub(r":\d+\Z", "", name)
    bare = _REVISION.sub("", name)
    yield bare
    yield _DATE.sub("", bare)
