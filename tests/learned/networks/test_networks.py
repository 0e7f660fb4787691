from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tomodist.errors import InputError
from tomodist.learned.networks.spec import Architecture

torch = pytest.importorskip("torch")

from tomodist.learned.detectors.tiles import tiles_of  # noqa: E402
from tomodist.learned.model.network import dense_output  # noqa: E402
from tomodist.learned.model.torch_network import TorchNetwork  # noqa: E402
from tomodist.learned.networks.build import filled, n_parameters, seeded  # noqa: E402
from tomodist.learned.networks.device import use_threads  # noqa: E402
from tomodist.learned.networks.layers import ConvNorm, fuse_norms  # noqa: E402

CASES: dict[str, Architecture] = {
    "2D": Architecture("residual-unet", 2, options={"widths": (16, 32)}),
    "2D, default": Architecture(),
    "2D, boxes": Architecture("residual-unet", 2, 5, {"widths": (16, 32, 48), "output_stride": 4}),
    "2D, stem of stride 1": Architecture(options={"widths": (16, 32), "stem_stride": 1}),
    "3D": Architecture("residual-unet", 3, 2, {"widths": (16, 32)}),
    "2D, dense": Architecture("dense-unet", 2, 1, {"blocks": (2, 2), "growth": 16}),
    "3D, dense": Architecture("dense-unet", 3, 1, {"blocks": (2, 2), "growth": 16}),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    use_threads(1)


def awake(architecture: Architecture, seed: int = 0) -> Any:
    """A network whose norms have seen something: means and variances are not 0 and 1."""
    module = seeded(architecture, seed)
    random = torch.Generator().manual_seed(seed)
    for name, value in module.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.3, generator=random)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=random)
    return module.eval()


def image_of(*sides: int) -> Any:
    return torch.randn((1, 1, *sides), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CASES)
def test_outputs_have_the_sides_of_the_image(name: str) -> None:
    architecture = CASES[name]
    module = awake(architecture)
    sides = [k * module.multiple for k in (3, 2, 4)[: architecture.dims]]
    with torch.inference_mode():
        found = module(torch.zeros(2, 1, *sides))
    shrunk = [n // module.output_stride for n in sides]
    assert tuple(found.shape) == (2, architecture.n_outputs, *shrunk)
    assert module.output_stride == architecture.all_options["output_stride"]


def reach_along(module: Any, axis: int, dims: int) -> int:
    """How far from its pixel an output has a gradient, along one axis, in a bar-shaped image."""
    stride, side = module.output_stride, 2 * (module.radius + module.multiple)
    sides = [side if k == axis else module.multiple for k in range(dims)]
    image = torch.rand((1, 1, *sides), dtype=torch.float64).requires_grad_()
    reach = []
    for start in (side // 2 - stride, side // 2):  # both sides of a border of the coarsest grid
        place = [start // stride if k == axis else 0 for k in range(dims)]
        (gradient,) = torch.autograd.grad(module(image)[(0, 0, *place)], image)
        seen = gradient[0, 0].abs().amax(dim=[k for k in range(dims) if k != axis])
        where = torch.nonzero(seen).flatten()
        reach += [start - int(where.min()), int(where.max()) - (start + stride - 1)]
    return int(max(reach))


@pytest.mark.parametrize("name", CASES)
def test_an_output_looks_no_farther_than_the_radius(name: str) -> None:
    """Beyond it, gradients are exactly 0.

    Rectified units hide much of what a network could see, so signs are taken away: weights are
    positive, norms do nothing, and every path carries some gradient.
    """
    module, dims = seeded(CASES[name], 0).double().eval(), CASES[name].dims
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_().clamp_(min=0.01)
    reach = max(reach_along(module, axis, dims) for axis in range(dims))
    assert reach <= module.radius
    assert reach >= 0.4 * module.radius  # nor is the margin much too wide


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("odd", [0, 1], ids=["even", "odd"])
def test_tiles_of_any_size_give_the_same(name: str, odd: int) -> None:
    network = TorchNetwork(awake(CASES[name]), half=False)
    multiple, radius = network.multiple, network.radius
    tile = max(16, 2 * multiple)
    sides = [multiple + odd] * (CASES[name].dims - 1) + [2 * radius + 4 * tile + odd]
    image = image_of(*sides)[0, 0].numpy()
    whole = dense_output(network, image, 4096)
    scale = max(1, np.abs(whole).max())
    for side in (tile, tile + 3 * multiple):
        assert len(tiles_of(sides, side, radius, multiple)) > 1
        np.testing.assert_allclose(dense_output(network, image, side), whole, atol=1e-4 * scale)


@pytest.mark.parametrize("name", CASES)
def test_fused_norms_change_nothing(name: str) -> None:
    architecture = CASES[name]
    module = awake(architecture)
    image = image_of(*(2 * module.multiple,) * architecture.dims)
    with torch.inference_mode():
        before = module(image).numpy()
        fuse_norms(module)
        after = module(image).numpy()
    np.testing.assert_allclose(after, before, atol=1e-4 * max(1, np.abs(before).max()))
    assert not any(
        isinstance(part, ConvNorm) and not isinstance(part.norm, torch.nn.Identity)
        for part in module.modules()
    )


def test_weights_travel_as_arrays() -> None:
    module = awake(CASES["2D"])
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    again = filled(CASES["2D"], weights, "here")
    image = image_of(32, 32)
    with torch.inference_mode():
        np.testing.assert_array_equal(again(image).numpy(), module(image).numpy())
    assert n_parameters(again) == n_parameters(module) > 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.bias": None}, "head.bias has shape none, but (1,) is expected"),
        ({"head.bias": np.zeros(2)}, "head.bias has shape (2,), but (1,) is expected"),
        ({"a.strange.one": np.zeros(2)}, "a.strange.one has shape (2,), but none is expected"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    weights = {k: v.numpy() for k, v in seeded(CASES["2D"], 0).state_dict().items()}
    weights = {k: v for k, v in {**weights, **change}.items() if v is not None}
    with pytest.raises(InputError) as caught:
        filled(CASES["2D"], weights, "there")
    assert message in str(caught.value)
    assert str(caught.value).startswith("there: the weights do not match the network residual-unet")


def test_a_seed_gives_the_same_weights_and_leaves_others_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (seeded(CASES["2D"], seed).state_dict() for seed in (1, 1, 2))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    for name, value in first.items():
        torch.testing.assert_close(value, again[name], rtol=0, atol=0)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


def test_at_first_little_is_structure() -> None:
    module = seeded(Architecture(n_outputs=3), 0)
    np.testing.assert_allclose(torch.sigmoid(module.head.bias.detach()).numpy(), 0.05, rtol=1e-5)


# ------------------------------------------------------------------------------------------ names


def test_names_need_no_torch() -> None:
    program = "import sys, tomodist.learned.networks.spec; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": "resnet"}, "network 'resnet' is unknown; it must be one of residual-unet"),
    "no class of MONAI": ({"name": "monai:"}, "network 'monai:' is unknown"),
    "four dimensions": ({"dims": 4}, "a network has 4 dimensions and 1 outputs"),
    "no output": (
        {"n_outputs": 0},
        "and 0 outputs; it must have 2 or 3 dimensions and at least 1 output",
    ),
    "option": ({"options": {"depth": 3}}, "residual-unet has no option 'depth'; use one of widths"),
    "narrow": ({"options": {"widths": (8, 16)}}, "widths are (8, 16); each must be a multiple of"),
    "odd": (
        {"options": {"widths": (16, 40)}},
        "widths are (16, 40); each must be a multiple of 16",
    ),
    "no width": ({"options": {"widths": ()}}, "widths are (); each must be a multiple of 16"),
}


@pytest.mark.parametrize("name", BAD)
def test_architectures_that_make_no_sense(name: str) -> None:
    given, message = BAD[name]
    with pytest.raises(InputError) as caught:
        Architecture(**given)
    assert message in str(caught.value)


def test_an_output_stride_that_no_level_has() -> None:
    with pytest.raises(InputError, match=r"output_stride is 3; it must be 1 or one of \[2, 4\]"):
        seeded(Architecture(options={"widths": (16, 32), "output_stride": 3}), 0)


# ------------------------------------------------------------------------------------------ MONAI


@pytest.mark.parametrize(("name", "dims"), [("UNet", 2), ("UNet", 3), ("SegResNet", 2)])
def test_networks_of_monai(name: str, dims: Any) -> None:
    pytest.importorskip("monai")
    module = seeded(Architecture(f"monai:{name}", dims, 2), 0).eval()
    assert (module.multiple, module.output_stride) == (32, 1)
    with torch.inference_mode():
        found = module(torch.zeros(1, 1, *(32,) * dims))
    assert tuple(found.shape) == (1, 2, *(32,) * dims)
    assert any("BatchNorm" in type(part).__name__ for part in module.modules())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NoSuchNet", {}, "MONAI has no network 'NoSuchNet'; use a class of monai.networks.nets"),
        ("os", {}, "MONAI has no network 'os'"),
        ("UNet", {"colour": 1}, "network monai:UNet cannot be built ("),
    ],
)
def test_what_monai_has_not(name: str, options: dict[str, Any], message: str) -> None:
    pytest.importorskip("monai")
    with pytest.raises(InputError) as caught:
        seeded(Architecture(f"monai:{name}", 2, 1, options), 0)
    assert message in str(caught.value)


def test_without_monai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(InputError, match=r"not installed; run `pip install tomodist\[monai\]`"):
        seeded(Architecture("monai:UNet"), 0)
