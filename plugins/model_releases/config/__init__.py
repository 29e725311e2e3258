"""What a model's YAML says, checked: what any model has, and what its kind adds."""

from __future__ import annotations

from model_releases.config.kubeflow_model import KubeflowModelConfig
from model_releases.config.model import REPORT_PATH, ModelConfig, ModelConfigError, read_section
from model_releases.config.reading import CONFIGS, read_configs_to_build, read_model_config, read_model_configs
from model_releases.config.text_classifier import ServingSection, TextClassifierConfig

__all__ = [
    "CONFIGS",
    "REPORT_PATH",
    "KubeflowModelConfig",
    "ModelConfig",
    "ModelConfigError",
    "ServingSection",
    "TextClassifierConfig",
    "read_configs_to_build",
    "read_model_config",
    "read_model_configs",
    "read_section",
]
