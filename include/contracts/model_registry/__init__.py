"""How releases are recorded in Kubeflow's Model Registry, without sending anything.

Both halves keep the same record with clients of their own, so what is asked, in which order, stands here, as stories:
generators that yield a :class:`~include.contracts.model_registry.calls.Call` and are sent its answer. Who tells one
sends the calls, one after the other, from a task, a trigger or a step of a pipeline.

A model is a registered model, a release a model version that is named after it, its package the one model artifact of
that version. The marks of a release (:mod:`include.contracts.registry_tags`) are custom properties of the version, so
the registry's own page shows them, metrics and digests among them. In place of MLflow's aliases two properties of the
registered model say which release is live and which was before; both change in one request.
"""
