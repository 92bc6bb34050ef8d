"""The demonstration: a scripted provider, a small agent that really works, and the tour that `ocproxy demo` gives.

Nothing here is used by the recorder. The provider is also what the project's own tests play real agents against.
"""
