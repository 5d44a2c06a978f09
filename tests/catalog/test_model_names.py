"""Model names: known families, unknown sizes, checkpoints, and a user's own rules."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.catalog.model_names import ModelNames, model_names
from bigbench_meta.core.errors import InputError, PatternError, SchemaError

HEADER = "pattern,family,name,total_params,source,remark"


def look(name, rules=None):
    found = (rules or model_names()).lookup(name)
    parts = filter(None, (found.checkpoint, found.variant))
    return found.model_family, found.model_name, found.total_params, "/".join(parts) or None


def rules_of(tmp_path, *rows, header=HEADER):
    path = tmp_path / "rules.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return ModelNames.read(path)


# --- Published counts: an architecture has as many parameters as its matrices have entries ---


def gpt(width, layers, *, vocabulary, positions=0, tied=True, extra=0):
    """GPT-2, OPT, BLOOM, GPT-NeoX: 4 attention and 8 MLP matrices of width^2, biases, two norms."""
    embeddings = (1 if tied else 2) * vocabulary * width + positions * width
    return embeddings + layers * (12 * width**2 + 13 * width) + 2 * width + extra


def llama(
    width, layers, feed, heads, *, vocabulary, groups=None, head=None, tied=False, bias=False,
    experts=1,
):  # fmt: skip
    """Llama, Mistral, Qwen: grouped queries, gated MLP, no biases but Qwen's on q, k and v."""
    head, groups = head or width // heads, groups or heads
    attention = 2 * width * heads * head + 2 * width * groups * head
    attention += (heads + 2 * groups) * head if bias else 0
    mlp = 3 * width * feed * experts + (width * experts if experts > 1 else 0)
    embeddings = (1 if tied else 2) * vocabulary * width
    return embeddings + layers * (attention + mlp + 2 * width) + width


def t5(width, feed, heads, layers, *, head=64, gated=True):
    """T5: no biases; 1.1 has a gated MLP and an output matrix of its own."""
    attention, mlp = 4 * width * heads * head, (3 if gated else 2) * width * feed
    encoder, decoder = attention + mlp + 2 * width, 2 * attention + mlp + 3 * width
    shared = (2 if gated else 1) * 32128 * width + 2 * 32 * heads + 2 * width
    return shared + layers * (encoder + decoder)


def pythia(width, layers, vocabulary=50304):
    return gpt(width, layers, vocabulary=vocabulary, tied=False)


def gpt2(width, layers, *, positions=1024):
    return gpt(width, layers, vocabulary=50257, positions=positions)


def neo(width, layers):
    """No biases on queries, keys and values."""
    return gpt2(width, layers, positions=2048) - 3 * width * layers


def opt(width, layers):
    return gpt(width, layers, vocabulary=50272, positions=2050)


def bloom(width, layers):
    """One more norm, after the embeddings."""
    return gpt(width, layers, vocabulary=250880, extra=2 * width)


def qwen(width, layers, feed, heads, groups, *, small):
    vocabulary = 151936 if small else 152064
    return llama(
        width, layers, feed, heads, vocabulary=vocabulary, groups=groups, bias=True, tied=small
    )


LLAMA_3 = {"vocabulary": 128256, "groups": 8}
COUNTS = {
    "pythia-14m": pythia(128, 6),
    "pythia-31m": pythia(256, 6),
    "pythia-70m": pythia(512, 6),
    "pythia-160m": pythia(768, 12),
    "pythia-410m": pythia(1024, 24),
    "pythia-1b": pythia(2048, 16),
    "pythia-1.4b": pythia(2048, 24),
    "pythia-2.8b": pythia(2560, 32),
    "pythia-6.9b": pythia(4096, 32, 50432),
    "pythia-12b": pythia(5120, 36, 50688),
    "gpt2": gpt2(768, 12),
    "gpt2-medium": gpt2(1024, 24),
    "gpt2-large": gpt2(1280, 36),
    "gpt2-xl": gpt2(1600, 48),
    "gpt-neo-125M": neo(768, 12),
    "gpt-neo-1.3B": neo(2048, 24),
    "gpt-neo-2.7B": neo(2560, 32),
    # One norm a layer and no biases in attention, but one on the output.
    "gpt-j-6b": gpt(4096, 28, vocabulary=50400, tied=False) - 28 * 6 * 4096 + 50400,
    "gpt-neox-20b": pythia(6144, 44, 50432),
    "opt-125m": opt(768, 12),
    # Word embeddings of width 512 with a projection in and out, and no last norm.
    "opt-350m": opt(1024, 24) - 50272 * 512 + 2 * 512 * 1024 - 2 * 1024,
    "opt-1.3b": opt(2048, 24),
    "opt-2.7b": opt(2560, 32),
    "opt-6.7b": opt(4096, 32),
    "opt-13b": opt(5120, 40),
    "opt-30b": opt(7168, 48),
    "opt-66b": opt(9216, 64),
    "opt-175b": opt(12288, 96),
    "bloom-560m": bloom(1024, 24),
    "bloom-1b1": bloom(1536, 24),
    "bloom-1b7": bloom(2048, 24),
    "bloom-3b": bloom(2560, 30),
    "bloom-7b1": bloom(4096, 30),
    "bloom": bloom(14336, 70),
    "Cerebras-GPT-111M": gpt2(768, 10, positions=2048),
    "Cerebras-GPT-256M": gpt2(1088, 14, positions=2048),
    "Cerebras-GPT-590M": gpt2(1536, 18, positions=2048),
    "Cerebras-GPT-1.3B": gpt2(2048, 24, positions=2048),
    "Cerebras-GPT-2.7B": gpt2(2560, 32, positions=2048),
    "Cerebras-GPT-6.7B": gpt2(4096, 32, positions=2048),
    "Cerebras-GPT-13B": gpt2(5120, 40, positions=2048),
    "Llama-7b": llama(4096, 32, 11008, 32, vocabulary=32000),
    "Llama-13b": llama(5120, 40, 13824, 40, vocabulary=32000),
    "Llama-30b": llama(6656, 60, 17920, 52, vocabulary=32000),
    "Llama-65b": llama(8192, 80, 22016, 64, vocabulary=32000),
    "Llama-2-7b": llama(4096, 32, 11008, 32, vocabulary=32000),
    "Llama-2-13b": llama(5120, 40, 13824, 40, vocabulary=32000),
    "Llama-2-70b": llama(8192, 80, 28672, 64, vocabulary=32000, groups=8),
    "Llama-3-8B": llama(4096, 32, 14336, 32, **LLAMA_3),
    "Llama-3-70B": llama(8192, 80, 28672, 64, **LLAMA_3),
    "Llama-3.1-8B": llama(4096, 32, 14336, 32, **LLAMA_3),
    "Llama-3.1-70B": llama(8192, 80, 28672, 64, **LLAMA_3),
    "Llama-3.1-405B": llama(16384, 126, 53248, 128, **LLAMA_3),
    "Llama-3.2-1B": llama(2048, 16, 8192, 32, tied=True, **LLAMA_3),
    "Llama-3.2-3B": llama(3072, 28, 8192, 24, tied=True, **LLAMA_3),
    "Mistral-7B-v0.1": llama(4096, 32, 14336, 32, vocabulary=32000, groups=8),
    "Mistral-7B-v0.3": llama(4096, 32, 14336, 32, vocabulary=32768, groups=8),
    "Mixtral-8x7B-v0.1": llama(4096, 32, 14336, 32, vocabulary=32000, groups=8, experts=8),
    "Qwen2.5-0.5B": qwen(896, 24, 4864, 14, 2, small=True),
    "Qwen2.5-1.5B": qwen(1536, 28, 8960, 12, 2, small=True),
    "Qwen2.5-3B": qwen(2048, 36, 11008, 16, 2, small=True),
    "Qwen2.5-7B": qwen(3584, 28, 18944, 28, 4, small=False),
    "Qwen2.5-14B": qwen(5120, 48, 13824, 40, 8, small=False),
    "Qwen2.5-32B": qwen(5120, 64, 27648, 40, 8, small=False),
    "Qwen2.5-72B": qwen(8192, 80, 29568, 64, 8, small=False),
    "t5-small": t5(512, 2048, 8, 6, gated=False),
    "t5-base": t5(768, 3072, 12, 12, gated=False),
    "t5-large": t5(1024, 4096, 16, 24, gated=False),
    "t5-3b": t5(1024, 16384, 32, 24, head=128, gated=False),
    "t5-11b": t5(1024, 65536, 128, 24, head=128, gated=False),
    "flan-t5-small": t5(512, 1024, 6, 8),
    "flan-t5-base": t5(768, 2048, 12, 12),
    "flan-t5-large": t5(1024, 2816, 16, 24),
    "flan-t5-xl": t5(2048, 5120, 32, 24),
    "flan-t5-xxl": t5(4096, 10240, 64, 24),
}


def test_published_counts_are_those_of_the_architectures():
    found = {name: model_names().lookup(name) for name in COUNTS}
    assert {name: one.total_params for name, one in found.items()} == COUNTS
    assert {name: one.model_name for name, one in found.items()} == {name: name for name in COUNTS}


def test_every_published_count_is_checked():
    counted = set(COUNTS.values())
    assert {rule.total_params for rule in model_names().rules} - {None} <= counted


@pytest.mark.parametrize(
    ("tuned", "base"),
    [
        ("Llama-2-13b-chat-hf", "Llama-2-13b"),
        ("Meta-Llama-3.1-70B-Instruct", "Llama-3.1-70B"),
        ("Qwen2.5-7B-Instruct", "Qwen2.5-7B"),
        ("bloomz-7b1", "bloom-7b1"),
        ("pythia-1b-deduped", "pythia-1b"),
        ("t5-v1_1-xl", "flan-t5-xl"),
    ],
)
def test_a_tuned_model_has_the_size_of_its_base_and_a_family_of_its_own(tuned, base):
    one, other = model_names().lookup(tuned), model_names().lookup(base)
    assert one.total_params == other.total_params
    assert one.model_family != other.model_family


# --- What the packaged rules say of names ---


KNOWN = [
    ("pythia-1.4b", "pythia", "pythia-1.4b", 1414647808),
    ("EleutherAI/pythia-1.4b-deduped", "pythia-deduped", "pythia-1.4b-deduped", 1414647808),
    ("EleutherAI/pythia-v1.1-70m", "pythia", "pythia-70m", 70426624),
    ("EleutherAI/pythia-v1.1-1b-bf16", "pythia", "pythia-1b", 1011781632),
    ("EleutherAI__pythia-160m", "pythia", "pythia-160m", 162322944),
    ("PYTHIA-70M-DEDUPED-V0", "pythia-deduped-v0", "pythia-70m-deduped-v0", 70426624),
    ("pythia-19m", "pythia-v0", "pythia-70m-v0", 70426624),
    ("facebook/opt-350m", "opt", "opt-350m", 331196416),
    ("bigscience/bloom-7b1", "bloom", "bloom-7b1", 7069016064),
    ("bloom-560m", "bloom", "bloom-560m", 559214592),
    ("bigscience/bloomz-7b1-mt", "bloomz-mt", "bloomz-7b1-mt", 7_100_000_000),
    ("meta-llama/Llama-2-70b-hf", "Llama-2", "Llama-2-70b", 68976648192),
    ("huggyllama/llama-33b", "Llama", "Llama-30b", 32528943616),
    ("meta-llama/Meta-Llama-3-8B", "Llama-3", "Llama-3-8B", 8030261248),
    ("gpt2-xl", "gpt2", "gpt2-xl", 1557611200),
    ("gpt-neo-2.7B", "gpt-neo", "gpt-neo-2.7B", 2651307520),
    ("EleutherAI/gpt-j-6b", "gpt-j", "gpt-j-6b", 6050882784),
    ("Qwen2.5-0.5B", "Qwen2.5", "Qwen2.5-0.5B", 494032768),
    ("Qwen/Qwen3-30B-A3B", "Qwen3-MoE", "Qwen3-30B-A3B", 30_000_000_000),
    ("mistralai/Mistral-7B-v0.1", "Mistral-7B", "Mistral-7B-v0.1", 7241732096),
    ("mistralai/Mixtral-8x7B-v0.1", "Mixtral", "Mixtral-8x7B-v0.1", 46702792704),
    ("google/flan-t5-xxl", "flan-t5", "flan-t5-xxl", 11135332352),
    ("cerebras/Cerebras-GPT-111M", "Cerebras-GPT", "Cerebras-GPT-111M", 111050496),
    ("gpt3-6.7b", "GPT-3", "gpt3-6.7b", 6_700_000_000),
    # Of no listed family: the nominal number in the name.
    ("google/gemma-2-2b-it", "gemma-2-it", "gemma-2-2b-it", 2_000_000_000),
    ("stablelm-2-1_6b", "stablelm-2", "stablelm-2-1_6b", 1_600_000_000),
    ("vicuna-13b-v1.5-16k", "vicuna-v1.5-16k", "vicuna-13b-v1.5-16k", 13_000_000_000),
    ("pythia-v1.1-70m-0.25MtokBS", "pythia-v1.1-0.25MtokBS", "pythia-v1.1-70m-0.25MtokBS",
     70_000_000),
]  # fmt: skip


def test_known_names():
    assert [(name, *look(name)) for name, *_ in KNOWN] == [(*known, None) for known in KNOWN]


# A release date is part of the family, never a size.
DATED = [
    ("allenai/OLMo-1B-0724-hf", "OLMo-0724", "OLMo-1B-0724", 10**9),
    ("OLMo-7B-0724", "OLMo-0724", "OLMo-7B-0724", 7 * 10**9),
    ("OLMo-7B-0424", "OLMo-0424", "OLMo-7B-0424", 7 * 10**9),
    ("allenai/OLMo-2-1124-7B", "OLMo-2-1124", "OLMo-2-1124-7B", 7 * 10**9),
    ("allenai/OLMo-2-1124-13B", "OLMo-2-1124", "OLMo-2-1124-13B", 13 * 10**9),
    ("Qwen2.5-7B-Instruct-2024-09", "Qwen2.5-Instruct-2024-09", "Qwen2.5-7B-Instruct-2024-09",
     7 * 10**9),
    ("mistral-7b-2407", "mistral-2407", "mistral-7b-2407", 7 * 10**9),
    ("mistral-2407_7b", "mistral-2407", "mistral-2407_7b", 7 * 10**9),
    ("owl-2024-07_7b", "owl-2024-07", "owl-2024-07_7b", 7 * 10**9),
    ("owl-30m-2024-07-18", "owl-2024-07-18", "owl-30m-2024-07-18", 30 * 10**6),
    ("owl-0724b", "owl-0724b", "owl-0724b", None),
    ("owl-20240307b", "owl-20240307b", "owl-20240307b", None),
    ("gpt-4o-mini-2024-07-18", "OpenAI", "gpt-4o-mini-2024-07-18", None),
    ("gpt-3.5-turbo-0613", "OpenAI", "gpt-3.5-turbo-0613", None),
    ("gpt-35-turbo-0613", "OpenAI", "gpt-35-turbo-0613", None),
    ("anthropic/claude-3-haiku-20240307", "Claude", "claude-3-haiku-20240307", None),
    ("anthropic.claude-3-haiku-20240307-v1:0", "Claude", "anthropic.claude-3-haiku-20240307-v1:0",
     None),
]  # fmt: skip

# A size or a date takes the part of the path before it, unless that is no name.
PLACED = [
    ("models/pythia/1.4b", "pythia", "pythia-1.4b", 1414647808),
    ("bloom/7b1", "bloom", "bloom-7b1", 7069016064),
    ("/data/owl/30m", "owl", "owl-30m", 30 * 10**6),
    ("C:\\models\\owl\\30m", "owl", "owl-30m", 30 * 10**6),
    ("owl__30m", "owl", "owl-30m", 30 * 10**6),
    ("owl/7b-chat", "owl-chat", "owl-7b-chat", 7 * 10**9),
    ("owl/7b/hf", "owl", "owl-7b", 7 * 10**9),
    ("owl-7b/2024-07-18", "owl-2024-07-18", "owl-7b-2024-07-18", 7 * 10**9),
    (
        "/hub/models--EleutherAI--pythia-70m/snapshots/" + "0a" * 20,
        "pythia",
        "pythia-70m",
        70426624,
    ),
    ("7b", "7b", "7b", None),
    ("models/7b", "models/7b", "models/7b", None),
    ("runs/2024-07-18/7b", "runs/2024-07-18/7b", "runs/2024-07-18/7b", None),
    ("/scratch/models/ckpt", "/scratch/models/ckpt", "/scratch/models/ckpt", None),
]


def test_dates_and_paths():
    cases = DATED + PLACED
    assert [(name, *look(name)) for name, *_ in cases] == [(*known, None) for known in cases]
    assert look("checkpoints/my-owl/7b/step1000") == ("my-owl", "my-owl-7b", 7 * 10**9, "step1000")
    assert model_names().lookup("models/7b").reason.startswith("a size alone names no model")


# Family, name, size and settings. A tag with a size alone is Ollama's own choice of weights.
PACKED = [
    ("qwen2.5:0.5b", "qwen2.5 (Ollama)", "qwen2.5:0.5b", 5 * 10**8, {}),
    ("ollama/qwen2.5:7b", "qwen2.5 (Ollama)", "qwen2.5:7b", 7 * 10**9, {}),
    ("falcon:7b", "falcon (Ollama)", "falcon:7b", 7 * 10**9, {}),
    ("tiiuae/falcon-7b", "falcon", "falcon-7b", 7 * 10**9, {}),
    ("qwen2.5:7b-q4_K_M", "qwen2.5 (Ollama)", "qwen2.5:7b", 7 * 10**9, {"quantisation": "q4_k_m"}),
    ("llama3.1:8b-instruct-q4_K_M", "Llama-3.1-Instruct", "Llama-3.1-8B-Instruct", 8030261248,
     {"quantisation": "q4_k_m"}),
    ("qwen2.5:0.5b-instruct-fp16", "Qwen2.5-Instruct", "Qwen2.5-0.5B-Instruct", 494032768,
     {"precision": "float16"}),
    ("llama3.1:latest", "llama3.1", "llama3.1", None, {}),
    ("mixtral:8x7b", "mixtral (Ollama)", "mixtral:8x7b", None, {}),
    ("hf.co/me/Llama-3.2-3B-GGUF:Q4_K_M", "Llama-3.2", "Llama-3.2-3B", 3212749824,
     {"quantisation": "q4_k_m"}),
    ("Llama-3.2-3B.Q8_0.gguf", "Llama-3.2", "Llama-3.2-3B", 3212749824, {"quantisation": "q8_0"}),
    ("TheBloke/Llama-2-7B-GPTQ", "Llama-2", "Llama-2-7b", 6738415616, {"quantisation": "gptq"}),
    ("Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen2.5-Instruct", "Qwen2.5-7B-Instruct", 7615616512,
     {"quantisation": "gptq-int4"}),
    ("owl-7b-bnb-4bit", "owl", "owl-7b", 7 * 10**9, {"quantisation": "4bit"}),
    ("owl-7b-8-bit/step5", "owl", "owl-7b", 7 * 10**9,
     {"checkpoint": "step5", "quantisation": "8bit"}),
    ("deepseek-r1:free", "deepseek-r1:free", "deepseek-r1:free", None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "family", "model", "size", "settings"), PACKED)
def test_how_weights_are_packed_is_a_setting(name, family, model, size, settings):
    found = model_names().lookup(name)
    assert (found.model_family, found.model_name, found.total_params) == (family, model, size)
    assert found.settings == settings


@given(
    st.sampled_from(["owl", "my-owl", "owl-2", "owl.x"]),
    st.sampled_from(["7b", "1.4b", "30m", "0.5b"]),
    st.sampled_from(["", "-chat", "-0724", "-2024-07-18"]),
    st.sampled_from(["{}-{}{}", "{}/{}{}", "/data/{}/{}{}/hf", "org/{}-{}{}-hf", "{}__{}{}"]),
)
def test_however_it_is_written_a_model_is_one(stem, size, rest, form):
    found = model_names().lookup(form.format(stem, size, rest))
    assert found == model_names().lookup(f"{stem}-{size}{rest}")
    assert found.model_family == stem + rest


UNSIZED = [
    ("gpt-4", "OpenAI does not say"),
    ("gpt-4o-mini", "OpenAI does not say"),
    ("openai/gpt-3.5-turbo", "OpenAI does not say"),
    ("text-davinci-003", "OpenAI does not say"),
    ("davinci", "OpenAI does not say"),
    ("babbage-002", "OpenAI does not say"),
    ("claude-2", "Anthropic does not publish"),
    ("mistralai/Mixtral-8x22B-v0.1", "mixture of experts"),
    ("some-moe-16x1.5b", "mixture of experts"),
    ("Llama-4-Scout-17B-16E", "mixture of experts"),
    ("pythia-1b-trained-100b", "no rule matches this name"),
    ("gemma-3n-E2B", "no rule matches this name"),
    ("phi-4bit", "no rule matches this name"),
    ("dummy", "no rule matches this name"),
    ("x" * 300 + "-7b", "no rule matches this name"),
]


def test_an_unknown_size_is_none_with_a_reason():
    for name, reason in UNSIZED:
        found = model_names().lookup(name)
        assert found.total_params is None, name
        assert found.reason.startswith(reason), name


CHECKPOINTS = [
    ("pythia-70m-step143000", "pythia-70m", "step143000"),
    ("EleutherAI/pythia-70m@step1", "pythia-70m", "step1"),
    ("pythia-70m/global_step1000", "pythia-70m", "step1000"),
    ("pythia-70m/global_step1000_hf", "pythia-70m", "step1000"),
    ("/models/llama-7b/checkpoint-500", "Llama-7b", "checkpoint-500"),
    ("allenai/OLMo-7B-step1000-tokens4B", "OLMo-7B", "step1000-tokens4B"),
    ("TinyLlama-1.1B-intermediate-step-50k-105b", "TinyLlama-1.1B", "step-50k-105b"),
    ("unheard/of-step12", "unheard/of", "step12"),
    ("pythia-70m-step", "pythia-70m-step", None),
    ("step5", "step5", None),
    ("-step5", "-step5", None),
    ("foo-step-7b", "foo-step-7b", None),
]


def test_a_checkpoint_is_told_from_the_name():
    found = {name: model_names().lookup(name) for name, *_ in CHECKPOINTS}
    assert [(n, f.model_name, f.checkpoint) for n, f in found.items()] == CHECKPOINTS


def test_the_reason_names_source_or_size():
    assert "2304.01373" in model_names().lookup("pythia-70m").reason
    assert model_names().lookup("owl-7b").reason == "nominal size 7b in the name"


@pytest.mark.parametrize("name", ["", " ", "/", "//", "\\", " / ", "\t\n"])
def test_a_name_must_not_be_empty(name):
    with pytest.raises(InputError, match="no model name"):
        model_names().lookup(name)


def test_packaged_rules_give_a_source_or_a_reason():
    for rule in model_names().rules:
        if rule.total_params is not None:
            assert rule.source, rule.pattern
        elif "size" not in rule.pattern.groupindex:
            assert rule.remark, rule.pattern


def test_a_model_name_names_the_same_model_again():
    for name in COUNTS:
        once = model_names().lookup(f"somebody/{name.upper()}")
        assert model_names().lookup(once.model_name) == once, name
        assert once == model_names().lookup(name), name


@given(
    st.from_regex(r"[a-z][a-z.]{3,8}", fullmatch=True).filter(lambda s: "tinyllama" not in s),
    st.integers(1, 999),
    st.one_of(st.none(), st.integers(0, 99)),
    st.sampled_from("mbMB"),
    st.from_regex(r"(?:-[a-z]{4,8})?", fullmatch=True),
)
def test_a_nominal_size_is_the_number_in_the_name(stem, whole, part, unit, rest):
    number = f"{whole}" if part is None else f"{whole}.{part}"
    found = model_names().lookup(f"zz{stem}-{number}{unit}{rest}")
    exact = Decimal(number) * {"m": 10**6, "b": 10**9}[unit.lower()]
    assert found.total_params == exact
    assert found.model_family == f"zz{stem}{rest}"


@given(st.text(max_size=60))
def test_any_name_has_a_family_and_either_size_or_reason(name):
    try:
        found = model_names().lookup(name)
    except InputError:
        assert not name.replace("/", "").replace("\\", "").replace("_", "").strip()
        return
    assert found.model_family
    assert found.model_name
    assert found.reason
    assert found.total_params is None or 0 < found.total_params <= 10**18


# --- Rules of a user's own ---


def test_own_rules_go_first(tmp_path):
    own = rules_of(tmp_path, "gpt-4,GPT,,1800000000000,a rumour,", "pythia-70m,mine,,,,I forgot")
    both = model_names().overridden_by(own)
    assert look("gpt-4", both) == ("GPT", "gpt-4", 1800000000000, None)
    assert both.lookup("gpt-4").reason == "a rumour"
    assert look("pythia-70m", both) == ("mine", "pythia-70m", None, None)
    assert both.lookup("pythia-70m").reason == "I forgot"
    assert look("pythia-160m", both) == look("pythia-160m")
    assert look("gpt-4")[2] is None


def test_optional_columns_may_be_missing(tmp_path):
    own = rules_of(tmp_path, r"owl-(?P<size>\w+),owl", header="pattern,family")
    assert look("owl-3b", own) == ("owl", "owl-3b", 3_000_000_000, None)
    assert own.lookup("owl-big").total_params is None
    assert own.lookup("owl-big").reason == "'big' is not a size"


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("410m", 410 * 10**6), ("1.4b", 1_400_000_000), ("1_6B", 1_600_000_000),
        ("7b1", 7_100_000_000), ("1T", 10**12), ("70k", 70_000), ("0.5b", 500_000_000),
        ("0b", None), ("1.5b5", None), ("12", None), ("xl", None), ("9999999t", None),
        ("1234567890123b", None),
    ],
)  # fmt: skip
def test_sizes(tmp_path, size, count):
    own = rules_of(tmp_path, r"owl-(?P<size>.+),owl,,,,")
    found = own.lookup(f"owl-{size}")
    assert found.total_params == count
    assert count is not None or found.reason == f"{size!r} is not a size"


def test_slots_take_what_matched(tmp_path):
    row = r"(?P<stem>\w+)-(?P<size>\d+m)(?P<chat>-chat)?(?:-(?P<variant>v\d))?"
    own = rules_of(tmp_path, f"{row},{{stem}}{{chat:-Chat}},{{stem}}/{{size}},,,")
    assert look("owl-3m-CHAT-v2", own) == ("owl-Chat", "owl/3m", 3_000_000, "v2")
    assert look("owl-3m", own) == ("owl", "owl/3m", 3_000_000, None)
    assert look("owl-3m-v1-step5", own) == ("owl", "owl/3m", 3_000_000, "step5/v1")


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], "pattern,name", "missing column family"),
        (
            ["(,owl,,,,"],
            HEADER,
            r"line 2: pattern: bad regular expression '\(': missing \), unterminated",
        ),
        (["owl,owl,,,,", ",owl,,,,"], HEADER, "line 3: pattern and family must not be empty"),
        (["owl, ,,,,"], HEADER, "line 2: pattern and family must not be empty"),
        (["owl,{size},,,,"], HEADER, r"line 2: family: \{size\} is not a group of the pattern"),
        (["owl,owl,{n},,,"], HEADER, r"line 2: name: \{n\} is not a group of the pattern"),
        (["owl,owl,,7b,,"], HEADER, "line 2: total_params: '7b' is not a number of parameters"),
        (["owl,owl,,-7,,"], HEADER, "'-7' is not a number of parameters"),
        (["owl,owl,,0,,"], HEADER, "'0' is not a number of parameters"),
        (["owl,owl,,1" + "0" * 19 + ",,"], HEADER, "is not a number of parameters"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, rows, header, message):
    with pytest.raises(SchemaError, match=message):
        rules_of(tmp_path, *rows, header=header)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read: "):
        ModelNames.read(tmp_path / "none.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00pattern")
    with pytest.raises(InputError, match="cannot be read: "):
        ModelNames.read(path)


def test_own_rules_may_name_what_is_cut_off_for_others(tmp_path):
    rules = r"owl-(?P<size>\d+b)-4bit,packed owl,,,,", r"7b,mine,,7,,"
    both = model_names().overridden_by(rules_of(tmp_path, *rules))
    assert look("me/owl-7b-4bit", both)[0] == "packed owl"
    assert look("me/owl-7b-8bit", both)[0] == "owl"
    assert look("owl/7b", both)[0] == "mine"


# Patterns that Python's own engine takes longer than anyone lives for.
HANGING = [r"(a|aa)+b", r"(?P<size>(a|aa|aaa)+)!", r"(?:a|aa)+$", r"(a|aa)+[b-d]"]
ENDING = [r"(a+)+$", r"(a*)*b", r"(a|a?)+b", r"(.*)*x", r"(a|a)*b", r"a*a*a*a*a*a*a*a*b"]


@pytest.mark.parametrize("pattern", [*HANGING, *ENDING])
def test_a_pattern_cannot_hang(tmp_path, pattern):
    own = rules_of(tmp_path, "owl,owl,,,,", f"{pattern},owl,,,,")
    started, name = time.process_time(), "a" * 150 + "?"
    if pattern in ENDING:
        assert not own.lookup(name).is_known
    else:
        with pytest.raises(PatternError) as caught:
            own.lookup(name)
        place = f"{tmp_path / 'rules.csv'}, line 3: pattern"
        said = f"{place}: the regular expression {pattern!r} takes too long on 'aaaa"
        assert str(caught.value).startswith(said)
    assert time.process_time() - started < 5  # half a second, on a machine with nothing else to do


def test_many_names_together_cannot_hang(tmp_path):
    own = rules_of(tmp_path, r"(a|aa)+b,owl,,,,")
    started = time.process_time()
    with pytest.raises(PatternError):
        [own.lookup("a" * 24 + f"?{number}") for number in range(100_000)]
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    "name", ["-1" * 100, "1b-" * 66, "-1.1" * 50, "a-1b" * 50, "-1_1b-" * 33, "8x7" * 60,
             "-q4_0" * 40, "-step1" * 30, "7b/" * 1000 + "7b", "-" * 100_000, "7b:" * 60],
)  # fmt: skip
def test_no_name_is_slow_under_the_packaged_rules(name):
    started = time.process_time()
    assert model_names().lookup(name).model_family
    assert time.process_time() - started < 0.5
