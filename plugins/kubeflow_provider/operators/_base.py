"""What the operators of this package have in common."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kubeflow_provider.compat import HAS_RETRY_POLICIES
from kubeflow_provider.exceptions import RETRY_POLICY

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


def cluster_with(cluster: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    """Return the cluster settings of a run.

    :param cluster: as the task has them.
    :param arguments: setting -> value of the argument that the task has for it. One that is given counts for more; a
        template that has nothing to say renders to an empty text, or to "None".
    """
    given = {name: value for name, value in arguments.items() if str(value).strip() not in ("", "None")}
    return {**cluster, **given}


class ServiceOperator(BaseOperator):
    """A task for a service. It has :data:`RETRY_POLICY` unless task or ``default_args`` say otherwise.

    In a DAG that renders native objects, a template of one expression gives what the expression gives, and everything
    else is text. Airflow would read that text as Python, and make 1000 of "1_000", 1.1 of "1.10" and nothing of "";
    here whoever knows the type that is wanted casts it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if HAS_RETRY_POLICIES and self.retry_policy is None:
            self.retry_policy = RETRY_POLICY

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a value, and what is in it."""
        from jinja2.nativetypes import NativeEnvironment

        env = jinja_env or self.get_template_env()
        if not isinstance(content, str) or not isinstance(env, NativeEnvironment):
            return super().render_template(content, context, env, seen_oids)
        template = env.from_string(content)
        scope: Any = copy.copy(context)
        scope.update((name, value) for name, value in template.globals.items() if name not in scope)
        try:
            nodes = list(template.root_render_func(template.new_context(scope, shared=True)))
        except Exception:
            env.handle_exception()  # so that the traceback points to the template
        return nodes[0] if len(nodes) == 1 else "".join(map(str, nodes))
