"""nerfstudio's method `disentangled-features`: its commands around the fit, the lifting and the fields of this package.

nerfstudio's commands import `method.py` by its entry point, wherever they run; so this file imports nothing, and that
one nothing that a user may lack. config.yml files name the modules and classes here: moving one breaks old runs.
"""
