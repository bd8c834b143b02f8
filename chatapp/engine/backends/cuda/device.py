"""A decoder on a device as the engine's `CausalModel`: which passes there are, and which one a row goes through.

A row's logits must be the same bits wherever it stands in a window. So a pass has one of a few shapes: a number of rows
(padded up), and a reach of the KV that follows from the row's own position; a pass never crosses the border of a reach. If
rows of the smaller passes are not the same bits as those of the largest, which is measured at load, all passes of a
window have the largest shape: at batch 1 the time goes into reading the weights, once per pass whatever its rows.

Prompts go through in wide passes that begin and end at fixed positions; their last row goes through a window's pass, so that
a prompt that was cached gives the same first token as one that was not. A row of a prompt and the same row of a reply are
computed by different kernels, though: what is exact is the text over the same history of turns.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace

import torch

from chatapp.domain.events import ModelInfo
from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.backends.cuda.decoder import KV_BLOCK, StaticDecoder
from chatapp.engine.backends.cuda.kernels import SERVED, WindowKernels
from chatapp.engine.backends.cuda.launch import Launcher
from chatapp.engine.backends.cuda.window import DeviceWindow, fits
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.contracts import FusedWindow, FusingContext

ROW_SIZES = (1, 2, 4, 8, MAX_WINDOW)
WIDE_ROWS = KV_BLOCK
"""Rows of a prompt's pass. Aligned to multiples of it, a pass lies in one reach."""
PREFILL_ROWS = 4 * WIDE_ROWS
"""A window's pass follows for the last row, so a call takes several wide passes; a cancel is heard between calls."""


class DeviceModel:
    """Implements `contracts.CausalModel` and `contracts.FusingModel` on one device.

    `weights` as for `StaticDecoder`. `kernels` says for people what computes it.
    """

    prefill_rows = PREFILL_ROWS

    def __init__(
        self,
        shape: DecoderShape,
        weights: MutableMapping[str, torch.Tensor],
        info: ModelInfo,
        launcher: Launcher,
        *,
        exact: bool = True,
        make_decoder: Callable[..., StaticDecoder] = StaticDecoder,
    ) -> None:
        """Without `exact` (a draft), rows are as fast as can be. `make_decoder` takes what `StaticDecoder` takes."""
        self.vocabulary = shape.vocabulary
        self.context_limit = shape.context_limit
        self.launcher = launcher
        device = launcher.device
        # Rows that fill up the last pass have places of their own behind the context.
        positions = -(-(shape.context_limit + WIDE_ROWS) // KV_BLOCK) * KV_BLOCK
        self.decoder = make_decoder(shape, weights, device, positions)
        self.place = torch.zeros((), dtype=torch.int64, device=device)
        """Where the next pass begins."""
        self.ids = torch.zeros(MAX_WINDOW, dtype=torch.int64, device=device)
        """What the next window's pass reads; behind the real ids any ids will do."""
        self.logits = torch.zeros(MAX_WINDOW, shape.vocabulary, dtype=torch.float32, device=device)
        """What the last window's pass gave."""
        self.exact_rows = False
        """A row's logits are the same bits at any place of any window."""
        self._row_sizes: tuple[int, ...] = ROW_SIZES
        self._kernels: dict[tuple[int, int], WindowKernels] = {}
        if exact:
            self._choose_row_sizes()
        self.info = replace(info, runs_on=self._words())

    def _choose_row_sizes(self) -> None:
        """Passes of every size where their rows are the same bits, of one size where they are not."""
        self.exact_rows = self._rows_are_exact()
        if not self.exact_rows:
            self._row_sizes = (MAX_WINDOW,)
            self.exact_rows = self._rows_are_exact()

    def _rows_are_exact(self) -> bool:
        """Whether rows computed together and one by one are the same bits, KV included, early and late in the context. What
        this leaves in the KV lies at positions that any use overwrites before it looks at them."""
        late = (
            max(0, self.context_limit - MAX_WINDOW) // MAX_WINDOW * MAX_WINDOW
        )  # not over the border of a reach
        return all(self._rows_are_exact_at(start) for start in {0, late})

    def _rows_are_exact_at(self, start: int) -> bool:
        count = min(MAX_WINDOW, self.context_limit)
        ids = [(7 * index + 3) % self.vocabulary for index in range(count)]

        def in_passes_of(size: int) -> torch.Tensor:
            parts = [ids[at : at + size] for at in range(0, count, size)]
            rows = [self._window_rows(part, start + at * size) for at, part in enumerate(parts)]
            return torch.cat(rows)

        single = in_passes_of(1)
        return all(torch.equal(in_passes_of(size), single) for size in (2, 3, 5, 8, MAX_WINDOW))

    def _words(self) -> str:
        launches = "CUDA graphs" if self.launcher.captures else "plain launches"
        exact = "rows exact" if self.exact_rows else "rows not exact to the bit"
        if self._row_sizes != ROW_SIZES:
            exact += f" (passes of {MAX_WINDOW})"
        dtype = str(self.decoder.dtype).removeprefix("torch.")
        windows = ", ".join(SERVED[:-1]) + f" and {SERVED[-1]}"
        return f"device path, {dtype}, {launches}, {exact}; windows of {windows} stay on the device"

    # -- passes -------------------------------------------------------------------------------------------------

    def reach(self, position: int) -> int:
        """Positions of the KV that a row at `position` looks at: the next power of two, in whole blocks."""
        size = KV_BLOCK
        while size <= position:
            size *= 2
        return min(size, -(-self.context_limit // KV_BLOCK) * KV_BLOCK)

    def pass_rows(self, count: int) -> int:
        """Rows of the window's pass that `count` rows go through."""
        return next(size for size in self._row_sizes if size >= count)

    def launch_pass(self, count: int, start: int) -> None:
        """The window's pass over `ids[:count]` at `place`, which is `start`, into `logits`. It must lie in one reach."""
        rows, reach = self.pass_rows(count), self.reach(start)

        def work() -> None:
            states = self.decoder.rows(self.ids[:rows], self.place, reach)
            self.logits[:rows] = self.decoder.logits(states)

        self.launcher.launch(("pass", id(self), rows, reach), work)

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        end = start + len(ids)
        if end > self.context_limit:
            raise ValueError(f"position {end} is past the context of {self.context_limit}")
        if start == 0:
            self.decoder.clear()
        done = self._wide_passes(ids[:-rows], start) if len(ids) > MAX_WINDOW else 0
        parts = []
        while done < len(ids):
            at = start + done
            part = ids[done : done + min(MAX_WINDOW, self.reach(at) - at)]
            unasked = max(0, len(ids) - rows - done)
            parts.append(self._window_rows(part, at)[unasked:])
            done += len(part)
        return torch.cat(parts)

    @torch.inference_mode()
    def _window_rows(self, ids: Sequence[int], start: int) -> torch.Tensor:
        """One window's pass, which lies in one reach: logits of all its rows on the host."""
        self._enter(self.ids, ids, start)
        self.launch_pass(len(ids), start)
        return self.logits[: len(ids)].to("cpu", copy=True)

    def _wide_passes(self, ids: Sequence[int], start: int) -> int:
        """KV alone. Not captured: their products take longer than their launches. Returns how many ids were read."""
        done = 0
        while done < len(ids):
            at = start + done
            part = ids[done : done + WIDE_ROWS - at % WIDE_ROWS]
            padded = torch.zeros(WIDE_ROWS, dtype=torch.int64, device=self.launcher.device)
            self._enter(padded, part, at)
            self.decoder.rows(padded, self.place, self.reach(at))
            done += len(part)
        return done

    def _enter(self, buffer: torch.Tensor, ids: Sequence[int], start: int) -> None:
        buffer[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
        self.place.fill_(start)

    def traffic(self, count: int, start: int) -> int:
        return self.decoder.traffic(count, start + count)

    def fuse(self, context: FusingContext) -> FusedWindow | None:
        """None where target and draft are not both device models on one device, or a setting needs the host."""
        draft = context.draft.model if context.draft is not None else None
        if draft is not None and not isinstance(draft, DeviceModel):
            return None
        if not fits(context.settings) or (draft and draft.launcher.device != self.launcher.device):
            return None
        key = (id(draft), context.vocabulary)
        if key not in self._kernels:
            # Captured work keeps the addresses of its buffers: they live as long as the model, not as long as a reply.
            self._kernels[key] = WindowKernels(self, draft, context.vocabulary)
        return DeviceWindow(self._kernels[key], context)
