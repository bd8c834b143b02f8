"""Codec of a run's conditions: what was asked (`GenerationRequest`) and where it ran (`Environment`), as plain dicts.

A part of `codec.py`, which says what is strict and what is replaced; nothing else imports this module.
"""

from __future__ import annotations

from typing import Any

from chatapp.domain.errors import DamagedRecord, RequestError
from chatapp.domain.events import Environment, ModelInfo
from chatapp.domain.request import FIXED_POLICY, GenerationRequest, Message, Role, SamplingSettings
from chatapp.domain.strict_reader import Reader, clean_text, json_number

JsonObject = dict[str, Any]
"""What `json.dumps` takes and `json.loads` gives for an object."""


def request_to_dict(request: GenerationRequest) -> JsonObject:
    sampling = request.sampling
    return {
        "messages": [
            {"role": message.role.value, "content": clean_text(message.content)}
            for message in request.messages
        ],
        "sampling": {
            "temperature": float(sampling.temperature),
            "top_k": sampling.top_k,
            "top_p": float(sampling.top_p),
            "min_p": float(sampling.min_p),
            "repetition_penalty": float(sampling.repetition_penalty),
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "stop": [clean_text(stop) for stop in sampling.stop],
            "presence_penalty": float(sampling.presence_penalty),
            "frequency_penalty": float(sampling.frequency_penalty),
            "logit_bias": [{"id": token, "bias": float(bias)} for token, bias in sampling.logit_bias],
        },
        "window": request.window,
        "speculation": request.speculation,
        "acceptor": clean_text(request.acceptor),
        "drafter": clean_text(request.drafter),
        "policy": clean_text(request.policy),
    }


def request_from(reader: Reader) -> GenerationRequest:
    try:
        return GenerationRequest(
            messages=tuple(
                Message(message.choice("role", Role), message.text("content"))
                for message in reader.children("messages")
            ),
            sampling=_sampling_from(reader.child("sampling")),
            window=reader.integer("window"),
            speculation=reader.flag("speculation"),
            acceptor=reader.text("acceptor"),
            drafter=reader.text("drafter"),
            policy=reader.text("policy") if reader.has("policy") else FIXED_POLICY,
        )
    except RequestError as error:
        raise DamagedRecord(f"{reader.path} holds no valid request: {error.what}", reader.path) from error


def _sampling_from(reader: Reader) -> SamplingSettings:
    biases = reader.children("logit_bias") if reader.has("logit_bias") else ()
    return SamplingSettings(
        temperature=reader.number("temperature"),
        top_k=reader.integer("top_k"),
        top_p=reader.number("top_p"),
        min_p=reader.number("min_p"),
        repetition_penalty=reader.number("repetition_penalty"),
        max_tokens=reader.integer("max_tokens"),
        seed=reader.integer("seed"),
        stop=reader.texts("stop"),
        presence_penalty=reader.number("presence_penalty") if reader.has("presence_penalty") else 0.0,
        frequency_penalty=reader.number("frequency_penalty") if reader.has("frequency_penalty") else 0.0,
        logit_bias=tuple((item.integer("id"), item.number("bias")) for item in biases),
    )


def _model_to_dict(model: ModelInfo) -> JsonObject:
    return {
        "name": clean_text(model.name),
        "architecture": clean_text(model.architecture),
        "parameters": model.parameters,
        "dtype": clean_text(model.dtype),
        "weights_sha256": clean_text(model.weights_sha256),
        "runs_on": clean_text(model.runs_on),
    }


def _model_from(reader: Reader) -> ModelInfo:
    return ModelInfo(
        name=reader.text("name"),
        architecture=reader.text("architecture"),
        parameters=reader.integer("parameters"),
        dtype=reader.text("dtype"),
        weights_sha256=reader.text("weights_sha256"),
        runs_on=reader.text("runs_on") if reader.has("runs_on") else "",
    )


def environment_to_dict(environment: Environment) -> JsonObject:
    return {
        "backend": clean_text(environment.backend),
        "device": clean_text(environment.device),
        "threads": environment.threads,
        "target": _model_to_dict(environment.target),
        "draft": None if environment.draft is None else _model_to_dict(environment.draft),
        "context_limit": environment.context_limit,
        "vocabulary": environment.vocabulary,
        "versions": [
            {"package": clean_text(package), "version": clean_text(version)}
            for package, version in environment.versions
        ],
        "platform": clean_text(environment.platform),
        "simulated": environment.simulated,
        "bandwidth": json_number(environment.bandwidth),
    }


def environment_from(reader: Reader) -> Environment:
    return Environment(
        backend=reader.text("backend"),
        device=reader.text("device"),
        threads=reader.integer("threads"),
        target=_model_from(reader.child("target")),
        draft=None if reader.is_null("draft") else _model_from(reader.child("draft")),
        context_limit=reader.integer("context_limit"),
        vocabulary=reader.integer("vocabulary"),
        versions=tuple((item.text("package"), item.text("version")) for item in reader.children("versions")),
        platform=reader.text("platform"),
        simulated=reader.flag("simulated"),
        bandwidth=reader.number("bandwidth") if reader.has("bandwidth") else 0.0,
    )
