"""A small model made from nothing, for trials without any download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import DistilBertForSequenceClassification, PreTrainedTokenizerFast

VOCABULARY_SIZE = 8000

#: Standard deviation of the word vectors at the beginning. They are normalised before anything reads them, so that it
#: only says how much a step can change them.
_WORD_SCALE = 0.2

_PAD, _UNKNOWN, _FIRST, _SEPARATOR = _SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def make_tokenizer(
    texts: Sequence[str], *, max_length: int, vocabulary_size: int = VOCABULARY_SIZE
) -> PreTrainedTokenizerFast:
    """Make a lower-casing WordPiece tokenizer from the training texts. The same texts give the same tokenizer.

    :param texts: cleaned training texts.
    :param max_length: tokens that the model can take.
    :param vocabulary_size: entries at most.
    """
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = _with_bert_rules(
        Tokenizer(models.WordPiece(_learn_vocabulary(texts, vocabulary_size), unk_token=_UNKNOWN))
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_FIRST} $A {_SEPARATOR}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (_FIRST, _SEPARATOR)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token=_PAD,
        unk_token=_UNKNOWN,
        cls_token=_FIRST,
        sep_token=_SEPARATOR,
        model_input_names=["input_ids", "attention_mask"],
    )


def _with_bert_rules(tokenizer):  # type: ignore[no-untyped-def]  # tokenizers has no types
    from tokenizers import normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _learn_vocabulary(texts: Sequence[str], size: int) -> dict[str, int]:
    from tokenizers import Tokenizer, models, trainers

    learner = _with_bert_rules(Tokenizer(models.WordPiece(unk_token=_UNKNOWN)))
    # The trainer numbers the inner characters ("##a") in the order of a hash table, which differs from process to
    # process, and breaks ties between merges by these numbers. Giving them first and sorted makes it repeatable.
    characters = {
        character
        for text in texts
        for word, _ in learner.pre_tokenizer.pre_tokenize_str(learner.normalizer.normalize_str(text))
        for character in word
    }
    inner = [f"##{character}" for character in sorted(characters)]
    learner.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=size, min_frequency=2, special_tokens=[*_SPECIAL, *inner], show_progress=False
        ),
    )
    return learner.get_vocab()


def make_model(*, vocabulary_size: int, n_labels: int, max_length: int) -> DistilBertForSequenceClassification:
    """Make a DistilBERT of two layers with random weights; PyTorch's seed decides which.

    :param max_length: tokens that it can take.
    """
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=vocabulary_size,
            max_position_embeddings=max_length,
            dim=128,
            hidden_dim=256,
            n_layers=2,
            n_heads=4,
            num_labels=n_labels,
            pad_token_id=0,
        )
    )
    _begin_as_a_bag_of_words(model)
    return model


def _begin_as_a_bag_of_words(model: DistilBertForSequenceClassification) -> None:
    """Let the first token begin as the mean of all word vectors; what their order says is learnt from there.

    The usual small random matrices shrink a word to a fiftieth on its way to the head, and a few steps of Adam are as
    large as the usual word vectors: with few rows for each class such a model learns the rows by heart, by words that
    stand in one of them, and little that other texts share.
    """
    from torch.nn.init import eye_, normal_, zeros_

    embeddings = model.distilbert.embeddings
    normal_(embeddings.word_embeddings.weight, std=_WORD_SCALE)
    zeros_(embeddings.position_embeddings.weight)
    for block in model.distilbert.transformer.layer:
        eye_(block.attention.v_lin.weight)
        eye_(block.attention.out_lin.weight)
        zeros_(block.ffn.lin2.weight)
    eye_(model.pre_classifier.weight)
