"""Tiny models of the twenty architectures that texts are classified with most, laid out as the Hub has them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LABELS = ["bad", "good"]
_WORDS = [("awful", "rude", "slow", "dirty"), ("superb", "kind", "quick", "clean")]
_ROWS = [
    (f"The {thing} was {word}, {rest}.", label)
    for label, words in enumerate(_WORDS)
    for word, thing, rest in itertools.product(words, ("food", "waiter", "place"), ("I think", "as always", "really"))
]
TEXTS, CLASSES = [text for text, _ in _ROWS], [label for _, label in _ROWS]
LENGTH = 32

_TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": LENGTH,
    "initializer_range": 0.3,  # Far from zero, so that different texts get different answers.
}


class Architecture(NamedTuple):
    """One kind of model.

    :param named: what people know it by.
    :param vocabulary: writes the tokenizer's files into a folder, and returns the number of tokens.
    :param settings: of its configuration, besides the sizes that most share.
    """

    named: str
    vocabulary: Callable[[Path], int]
    settings: dict[str, Any] = {}


def word_pieces(folder: Path) -> int:
    """Write ``tokenizer.json`` with word pieces, as BERT has them."""
    from include.classifier.training.scratch import make_tokenizer

    tokenizer = make_tokenizer(TEXTS, max_length=LENGTH)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def bytes_of_roberta(folder: Path) -> int:
    """Write ``tokenizer.json`` with pairs of bytes between ``<s>`` and ``</s>``, and without a ``model_max_length``."""
    from tokenizers import processors

    return _byte_pairs(
        folder,
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        processors.RobertaProcessing(("</s>", 2), ("<s>", 0)),
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def bytes_alone(folder: Path) -> int:
    """Write ``tokenizer.json`` with pairs of bytes and no padding, as models that continue texts have it."""
    return _byte_pairs(folder, ["<|endoftext|>"], None, eos_token="<|endoftext|>", padding_side="left")


def _byte_pairs(folder: Path, special: Sequence[str], processor: Any, **options: Any) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
        ),
    )
    if processor is not None:
        tokenizer.post_processor = processor
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def sentence_pieces(file: str, **options: Any) -> Callable[[Path], int]:
    """Return what writes a vocabulary of SentencePiece and nothing else, as older models bring it."""

    def write(folder: Path) -> int:
        import io

        import sentencepiece

        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 3),
            model_writer=model,
            vocab_size=120,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
        (folder / file).write_bytes(model.getvalue())
        return 200  # Each class adds tokens of its own.

    return write


#: ``model_type`` of a configuration -> how it looks.
ARCHITECTURES = {
    "bert": Architecture("BERT", word_pieces),
    "distilbert": Architecture("DistilBERT", word_pieces),
    "electra": Architecture("ELECTRA", word_pieces, {"embedding_size": 32}),
    "mpnet": Architecture("MPNet", word_pieces),
    "modernbert": Architecture("ModernBERT", word_pieces, {"cls_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}),
    "roberta": Architecture("RoBERTa", bytes_of_roberta),
    "longformer": Architecture("Longformer", bytes_of_roberta, {"attention_window": 8}),
    "deberta": Architecture("DeBERTa", bytes_of_roberta, {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-v2": Architecture(
        "DeBERTa-v3",
        sentence_pieces("spm.model", pad_id=0, bos_id=1, eos_id=2, unk_id=3, bos_piece="[CLS]", eos_piece="[SEP]"),
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8, "pad_token_id": 0},
    ),
    "xlm-roberta": Architecture("XLM-RoBERTa", sentence_pieces("sentencepiece.bpe.model")),
    "camembert": Architecture("CamemBERT", sentence_pieces("sentencepiece.bpe.model")),
    "albert": Architecture(
        "ALBERT",
        sentence_pieces("spiece.model", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols="[CLS],[SEP],[MASK]"),
        {"embedding_size": 32},
    ),
    "big_bird": Architecture(
        "BigBird", sentence_pieces("spiece.model", control_symbols="[CLS],[SEP],[MASK]"), {"block_size": 4}
    ),
    "fnet": Architecture("FNet", sentence_pieces("spiece.model", pad_id=3, control_symbols="[CLS],[SEP],[MASK]"), {}),
    "xlnet": Architecture(
        "XLNet",
        sentence_pieces("spiece.model", control_symbols="<cls>,<sep>,<pad>,<mask>,<eod>,<eop>"),
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "pad_token_id": 5},
    ),
    "bart": Architecture(
        "BART",
        bytes_of_roberta,
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": LENGTH,
            "init_std": 0.3,
        },
    ),
    "t5": Architecture(
        "T5",
        sentence_pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 2, "num_heads": 2},
    ),
    "gpt2": Architecture("GPT-2", bytes_alone),
    "llama": Architecture("Llama", bytes_alone, {"num_key_value_heads": 1}),
    "qwen2": Architecture("Qwen2", bytes_alone, {"num_key_value_heads": 1}),
}


def write(model_type: str, folder: Path) -> Path:
    """Write a tiny model with random weights into a folder, and return the folder."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder.mkdir(parents=True)
    architecture = ARCHITECTURES[model_type]
    tokens = architecture.vocabulary(folder)
    sizes = {} if "d_model" in architecture.settings else _TINY
    config = AutoConfig.for_model(model_type, **(sizes | {"vocab_size": tokens} | architecture.settings))
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder
