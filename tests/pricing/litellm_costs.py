"""What litellm says that calls cost, as a program: cases as JSON on standard input, dollars on standard output.

Its import takes seconds, so the tests run it once for all their cases.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import litellm
from litellm.litellm_core_utils.llm_cost_calc import utils
from litellm.types.utils import CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper, Usage


def main() -> None:
    json.dump([_cost(case) for case in json.load(sys.stdin)], sys.stdout)


def _cost(case: dict[str, Any]) -> float:
    counts: dict[str, int] = case["tokens"]
    written, hour = counts["cache_write"], counts["cache_write_1h"]
    details = PromptTokensDetailsWrapper(cached_tokens=counts["cache_read"], cache_creation_tokens=written)
    if hour:
        details.cache_creation_token_details = {
            "ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour,
        }  # fmt: skip
    usage = Usage(
        prompt_tokens=counts["input"] + counts["cache_read"] + written,
        # xAI's own count leaves reasoning out, as the wire has it; the record has it in.
        completion_tokens=counts["output"] - (counts["reasoning"] if case["provider"] == "xai" else 0),
        prompt_tokens_details=details,
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=counts["reasoning"]),
    )
    for name in ("inference_geo", "speed"):
        if name in case:
            setattr(usage, name, case[name])
    at = datetime.fromisoformat(case["at"])
    utils.current_billing_time = lambda: at
    asked = {name: case[name] for name in ("service_tier", "data_residency", "vertex_location") if name in case}
    parts = litellm.cost_per_token(
        model=case["model"], custom_llm_provider=case["provider"], usage_object=usage, **asked
    )
    return float(sum(parts))


if __name__ == "__main__":
    main()
