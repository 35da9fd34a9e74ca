"""Mixed precision that a config may ask for on any machine."""

import pytest
import torch
from mmpretrain.registry import OPTIM_WRAPPERS
from torch import nn

from sotglp_mm.engine import autocast_optim_wrapper


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(autocast_optim_wrapper, 'get_device', lambda: 'cpu')


@pytest.fixture
def model() -> nn.Linear:
    model = nn.Linear(3, 2)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def build(model: nn.Module, **settings):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return OPTIM_WRAPPERS.build(dict(type='AutocastOptimWrapper', optimizer=optimizer, **settings))


def forward(wrapper, model: nn.Module) -> torch.Tensor:
    with wrapper.optim_context(model):
        return model(torch.ones(4, 3))


def test_float16_means_float32_on_a_cpu_and_the_log_says_so(model, logged):
    said = logged('engine.autocast_optim_wrapper')
    wrapper = build(model, dtype='float16')
    assert forward(wrapper, model).dtype is torch.float32
    assert not wrapper.loss_scaler.is_enabled()
    assert wrapper.state_dict()['dtype'] == 'float32'
    assert said == ['No GPU: training in float32 instead of float16']


def test_bfloat16_runs_on_a_cpu(model):
    wrapper = build(model, dtype='bfloat16')
    assert forward(wrapper, model).dtype is torch.bfloat16
    assert not wrapper.loss_scaler.is_enabled()  # its range is float32's
    assert not torch.is_autocast_enabled('cpu')  # after the context


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_a_step_is_that_of_the_optimizer(model, dtype: str):
    wrapper = build(model, dtype=dtype)
    wrapper.update_params(forward(wrapper, model).float().mean())
    # d mean / d weight = 1 / 2 for inputs of one
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 3), 1 - 0.1 / 2))
    assert model.weight.dtype is torch.float32


def test_gradients_are_accumulated_and_clipped(model):
    wrapper = build(model, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    for expected in (1.0, 1 - 0.1 / 2):
        wrapper.update_params(forward(wrapper, model).mean())
        torch.testing.assert_close(model.weight.detach(), torch.full((2, 3), expected))
    wrapper = build(model, clip_grad=dict(max_norm=0.01))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    wrapper.update_params(forward(wrapper, model).mean())
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), before)])
    torch.testing.assert_close(moved.norm().detach(), torch.tensor(0.1 * 0.01), rtol=1e-3, atol=0)


@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=1000.0)])
def test_a_scaled_loss_gives_the_same_step_and_an_overflow_none(model, clip_grad):
    wrapper = build(model, clip_grad=clip_grad)
    # what the wrapper uses on an accelerator; this scaler works on a CPU too
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    wrapper.update_params(forward(wrapper, model).mean())
    expected = torch.full((2, 3), 1 - 0.1 / 2)
    torch.testing.assert_close(model.weight.detach(), expected)
    wrapper.update_params(forward(wrapper, model).mean() * torch.inf)
    torch.testing.assert_close(model.weight.detach(), expected)
    assert wrapper.loss_scaler.get_scale() == 512.0


def test_state_survives_resuming_also_in_other_precision(model):
    wrapper = build(model)
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    wrapper.update_params(forward(wrapper, model).mean())
    state = wrapper.state_dict()
    of_bfloat16 = {**state, 'loss_scaler': {}}
    without = {key: value for key, value in state.items() if key != 'loss_scaler'}
    for saved, scale in ((state, 8.0), (of_bfloat16, 65536.0), (without, 65536.0)):
        resumed = build(model)
        resumed.loss_scaler = torch.amp.GradScaler('cpu')
        resumed.load_state_dict(saved)
        assert resumed.loss_scaler.get_scale() == scale
        momentum = [s['momentum_buffer'] for s in resumed.optimizer.state.values()]
        torch.testing.assert_close(momentum[0], torch.full((2, 3), 0.5))
    assert 'loss_scaler' in state  # loading takes nothing out of the caller's dict


@pytest.fixture
def seconds(monkeypatch) -> dict:
    """What a measurement finds, by precision."""
    found = dict(float32=1.0, bfloat16=0.5)
    monkeypatch.setattr(autocast_optim_wrapper, 'mlp_seconds', lambda _, dtype: found[dtype])
    return found


def test_auto_takes_the_faster_precision_and_says_so(model, seconds, logged):
    said = logged('engine.autocast_optim_wrapper')
    assert forward(build(model, dtype='auto'), model).dtype is torch.bfloat16
    seconds['bfloat16'] = 0.95  # not worth a coarser number
    assert forward(build(model, dtype='auto'), model).dtype is torch.float32
    assert said == [
        "dtype='auto': training in bfloat16 (an MLP takes: float32 1e+03 ms, bfloat16 500 ms)",
        "dtype='auto': training in float32 (an MLP takes: float32 1e+03 ms, bfloat16 950 ms)",
    ]


def test_a_resumed_run_keeps_the_precision_that_auto_chose(model, seconds, logged):
    state = build(model, dtype='auto').state_dict()
    seconds['bfloat16'] = 2.0  # a busy moment
    said = logged('engine.autocast_optim_wrapper')
    resumed = build(model, dtype='auto')
    resumed.load_state_dict(state)
    assert forward(resumed, model).dtype is torch.bfloat16
    assert said[1:] == ["dtype='auto': the run began in bfloat16 and goes on so"]
    named = build(model, dtype='float32')
    named.load_state_dict(state)
    assert forward(named, model).dtype is torch.float32  # what the user asks for counts


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_the_measurement_takes_time_and_no_random_numbers(dtype: str):
    before = torch.get_rng_state()
    shorter, longer = (autocast_optim_wrapper.mlp_seconds('cpu', dtype, n) for n in (64, 4096))
    assert 0 < 4 * shorter < longer  # 64 times the work
    assert torch.equal(torch.get_rng_state(), before)


def test_settings_are_checked(model):
    with pytest.raises(ValueError, match=r"dtype='float8' is not known.*'bfloat16', 'float32'"):
        build(model, dtype='float8')
    with pytest.raises(TypeError, match=r"no setting 'clip_grads'; did you mean 'clip_grad'"):
        build(model, clip_grads=dict(max_norm=1.0))
