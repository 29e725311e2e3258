"""The simple model that a candidate has to beat: TF-IDF and logistic regression, trained in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from include.classifier.metrics import Probabilities

#: Words and pairs of words, and their number times that of the classes: 32 MB, of which the optimiser holds 25.
_MOST_FEATURES, _MOST_WEIGHTS = 200_000, 4_000_000


def baseline_probabilities(
    train_texts: Sequence[str],
    train_classes: Sequence[int],
    texts: Sequence[str],
    *,
    n_classes: int,
    class_weights: Sequence[float] | None = None,
) -> Probabilities:
    """Train on the rows that the candidate was trained on, and predict the evaluation rows.

    Words and pairs of words, with a logarithm on their counts. What stands in one training row only is left out, unless
    nothing would be left. The more classes, the fewer of the commonest words: the optimiser holds two dozen times the
    weights, which are a number for each word and class.

    :param class_weights: those of the candidate's training, shape ``(n_classes,)``; ``None`` weighs all rows alike.
    :return: shape ``(n_texts, n_classes)``.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    most = min(_MOST_FEATURES, _MOST_WEIGHTS // n_classes)
    options = {"ngram_range": (1, 2), "sublinear_tf": True, "max_features": most, "token_pattern": r"(?u)\b\w+\b"}
    try:
        vectorizer = TfidfVectorizer(min_df=2, **options)
        features = vectorizer.fit_transform(train_texts)
    except ValueError:
        # No word stands in two rows.
        vectorizer = TfidfVectorizer(**options)
        features = vectorizer.fit_transform(train_texts)
    model = LogisticRegression(
        max_iter=1000, class_weight=None if class_weights is None else dict(enumerate(class_weights))
    )
    model.fit(features, train_classes)
    probabilities = np.zeros((len(texts), n_classes))
    # A class without training rows has no column.
    probabilities[:, model.classes_] = model.predict_proba(vectorizer.transform(texts))
    return probabilities
