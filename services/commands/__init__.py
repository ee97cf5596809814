"""The verbs of `afterstay`: one small module a verb or family, loaded when it is asked for."""
