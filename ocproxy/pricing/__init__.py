"""What calls cost: list prices, the user's own, and the sum of one call. Pure; it reads one file, its own table.

`prices.json` is made of the table that the package litellm carries (MIT licence, beside it in `prices.LICENSE`) by
`python -m tests.pricing.snapshot`. All rates are US dollars per million tokens, exact decimals; costs are whole
nano-dollars.
"""
