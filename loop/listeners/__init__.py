"""How hooks are called.

`hook_methods.py` and `hook_checks.py` say what of an object is called, and what it has to be, and `held.py` what of it
is state; `calls.py` knows who listens to what, and calls them in order. `reports.py` is for values that hooks report,
`failures.py` for exceptions that come out of them, and `returned.py` for what they return in vain. `had.py` knows hooks
that are in the run of another loop, or come from one, `copied.py` what a copy of a hook is, and `made_with.py` what it
was given.

It may import `events`, `triggers` and `hook`, and what is below these.
"""
