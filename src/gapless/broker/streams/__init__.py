"""The use cases of streams: what each verb does, whoever calls it. Requests and answers are the wire's."""

from gapless.broker.streams.streaming import Streaming

__all__ = ["Streaming"]
