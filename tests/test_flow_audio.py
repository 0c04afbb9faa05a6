"""A latent in which distances are heard, and the exact flow from it to presets."""

import pytest
import torch
from toys import SMALL, toy_data

from pyrosynth.errors import InputError
from pyrosynth.modeling import AudioCoordinates, Dims, SyncFreeELBO, TagDirections, stress
from pyrosynth.training import zoo
from pyrosynth.training.svi import fit

TURN = ("normals", "weight", "log_sharpness")
MIXED = Dims(5, (8, 11), (3, 16, 5, 301, 16))  # two discrete parameters between others


def build(dims=MIXED, nudge=0.05, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = SMALL["flow_audio"] | {"max_levels": 8} | options
        variant = zoo.load_model("flow_audio")(dims, **settings)
        with torch.no_grad():
            for parameter in variant.parameters():
                parameter += nudge * torch.randn_like(parameter)
    return variant.eval()


def points(n, dims=MIXED, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, dims.n_params, generator=rng).clamp(1e-4, 1 - 1e-4)


@torch.no_grad()
def test_place_and_preset_are_one_point_everywhere():
    """(z, v) to (z, u) and back, at any latent and any preset, and the other way around."""
    variant = build()
    rng = torch.Generator().manual_seed(2)
    z, v = 3 * torch.randn(4000, 5, generator=rng), points(4000)
    u = variant.remainder(v, z)
    torch.testing.assert_close(variant.params_at(z, u), v, atol=2e-4, rtol=0)
    u = torch.randn(4000, 5, generator=rng, dtype=torch.float64)
    back = variant.remainder(variant.params_at(z, u), z)
    torch.testing.assert_close(back, u, atol=5e-3, rtol=0)


@torch.no_grad()
def test_noise_of_presets_is_standard_normal():
    """Draws of p(v|z), by the other way of drawing, have standard normal u."""
    variant = build()
    z = torch.tensor([[0.5, -1.0, 0.3, 2.0, 0.0]])
    torch.manual_seed(0)
    v = variant.presets(z).sample((20_000,))
    u = variant.remainder(v, z)[:, 0]
    torch.testing.assert_close(u.mean(0), torch.zeros(5).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(u.T.cov(), torch.eye(5).double(), atol=0.05, rtol=0)


def test_density_is_that_of_the_noise():
    """log p(v|z) = log N(u) + log|det du/dv|, discrete parameters and all."""
    variant = build()
    distribution = variant.presets(torch.randn(1, 5, generator=torch.Generator().manual_seed(3)))
    for v in points(8):
        u = distribution.noise(v[None])[0]
        jacobian = torch.autograd.functional.jacobian(
            lambda one: distribution.noise(one[None])[0], v.double().float()
        ).double()
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(u).sum()
        # Outputs are ordered discrete first: a permutation, whose determinant is 1 or -1.
        expected = normal + torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(
            distribution.log_prob(v[None])[0].double(), expected, atol=2e-3, rtol=1e-4
        )


def test_the_prior_cannot_move_the_latent():
    data = toy_data(n=32)
    variant = build(data.dims).train()
    (term,) = (t for t in variant.terms if t.name == "prior")
    SyncFreeELBO((term,)).values(variant, data.batch(data.train)).sum().backward()
    moved = {name for name, p in variant.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in variant.named_parameters() if name.startswith("prior.")}


def test_distances_of_coordinates_are_log_spectral_distances():
    rng = torch.Generator().manual_seed(0)
    # Sounds of three degrees of freedom, standardised by uneven deviations.
    std = 0.2 + torch.rand(8, 11, generator=rng)
    basis = torch.randn(3, 8, 11, generator=rng)
    x = torch.einsum("nk,kmf->nmf", torch.randn(64, 3, generator=rng), basis) / std
    coordinates = AudioCoordinates(3, (8, 11))
    coordinates.fit(x, torch.zeros(8, 11), std)
    z = coordinates(x)
    difference = (x[:, None] - x[None]) * std
    lsd = 10 / torch.tensor(10.0).log() * difference.square().mean((-1, -2)).sqrt()
    torch.testing.assert_close(5 * torch.cdist(z, z), lsd, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(coordinates.inverse(z), x, atol=1e-3, rtol=1e-3)
    assert (coordinates.spread.diff() <= 0).all()
    torch.testing.assert_close(coordinates.spread, z.std(0, correction=0), atol=0.05, rtol=0.05)
    assert stress(z, coordinates.points(x)).max() < 1e-3
    assert stress(2 * z, coordinates.points(x)).min() > 0.1


def test_the_last_coordinates_tell_how_much_a_sound_changes():
    rng = torch.Generator().manual_seed(0)
    mean, std = torch.randn(8, 30, generator=rng), 0.5 + torch.rand(8, 30, generator=rng)
    t = torch.arange(30.0)
    depth = torch.linspace(0, 2, 200)[:, None, None]
    periods = torch.tensor([2.0, 16.0]).repeat(100)[:, None, None]  # frames
    tremolo = depth * (2 * torch.pi * t / periods).cos() + torch.randn(200, 8, 1, generator=rng)
    coordinates = AudioCoordinates(6, (8, 30), n_changes=2)
    x = (tremolo - mean) / std
    coordinates.fit(x, mean, std)
    z = coordinates(x)
    assert z.shape == (200, 6)
    torch.testing.assert_close(z[:, 4:].std(0, correction=0), coordinates.spread[4:])
    fast, slow = z[::2, 4:], z[1::2, 4:]
    assert (fast[:, 0].diff() > 0).all()  # deeper, so more from one frame to the next
    assert (slow[:, 1].diff() > 0).all()
    assert fast[:, 1].std() < 0.1 * slow[:, 1].std()  # the same again eight frames later
    # of a sound of one frame nothing changes; the mean of the others is what they have without
    single = AudioCoordinates(3, (8, 1), n_changes=2)
    single.fit(x[..., :1], mean[:, :1], std[:, :1])
    assert single(x[..., :1])[:, 1:].abs().max() < 1e-4
    torch.testing.assert_close(
        coordinates.inverse(z)[..., 0], coordinates.inverse(z[..., :4])[..., 0]
    )


TWO_TAGS = Dims(4, (8, 11), (), ("tone", "size"), (("dark", "bright"), ("s", "m", "l")))


def test_directions_of_tags_are_a_turn():
    directions = TagDirections(TWO_TAGS, 5)
    spread = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2])
    z = spread * torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    axes = directions.axes(z, spread)
    torch.testing.assert_close(directions.latent_of(axes, spread), z, atol=1e-4, rtol=1e-4)
    even = z / spread
    torch.testing.assert_close(
        torch.cdist(axes, axes), torch.cdist(even, even), atol=2e-2, rtol=1e-3
    )
    weight = directions.log_weight(axes).exp()
    torch.testing.assert_close(weight.sum(-1), torch.ones(500, 2))
    assert (weight[:, 0, 2] == 0).all()
    with pytest.raises(InputError, match="2 tags for a latent of 1 dimension, "):
        TagDirections(TWO_TAGS, 1)


def test_coordinates_follow_tags_that_no_straight_line_follows():
    """Fitted where two of three labels are missing; then still a map to and fro."""
    directions = TagDirections(TWO_TAGS, 5)
    spread = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2])
    rng = torch.Generator().manual_seed(0)
    even = torch.randn(4000, 5, generator=rng)
    # How large something is depends on the square of another coordinate.
    numbers = torch.stack([even[:, 0], even[:, 1] + even[:, 2].square()], -1)
    third = numbers.quantile(torch.tensor([1 / 3, 2 / 3]), 0)
    mask = torch.zeros(4000, 2, 3, dtype=torch.bool)
    mask[:, 0, 0], mask[:, 0, 1] = numbers[:, 0] < 0, numbers[:, 0] >= 0
    label = (numbers[:, 1] > third[0, 1]).long() + (numbers[:, 1] > third[1, 1])
    mask[:, 1] = label[:, None] == torch.arange(3)
    hidden = torch.rand(4000, 2, generator=rng) < 2 / 3
    mask[hidden] = torch.tensor([[True, True, False], [True] * 3])[None].expand(4000, 2, 3)[hidden]
    z = spread * even
    directions.fit(z[:3000], spread, mask[:3000], steps=300, seed=0)
    assert all(p.requires_grad == (name in TURN) for name, p in directions.named_parameters())
    with torch.no_grad():
        axes = directions.axes(z, spread)
        torch.testing.assert_close(directions.latent_of(axes, spread), z, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(axes[:3000].std(0), torch.ones(5), atol=1e-3, rtol=0)
    for i in range(2):
        pair = torch.stack([axes[3000:, i], numbers[3000:, i]]).argsort(-1).argsort(-1).float()
        assert torch.corrcoef(pair)[0, 1] > 0.9
    # The others know nothing of them on average.
    assert torch.corrcoef(axes.T)[:2, 2:].abs().max() < 0.1
    turn = {name: tensor for name, tensor in directions.state_dict().items() if name in TURN}
    with pytest.raises(RuntimeError, match="Missing key"):  # not to be taken for a whole one
        TagDirections(TWO_TAGS, 5).load_state_dict(turn)


def test_a_fit_finds_the_space_and_its_tags():
    """Neighbours in sound are neighbours in z, by sound and by preset, and tags have axes."""
    data = toy_data(n=1024)
    torch.manual_seed(0)
    variant = zoo.load_model("flow_audio")(data.dims, **SMALL["flow_audio"] | {"noise": 0.02})
    options = {"batch_size": 64, "lr": 5e-3, "warm_up": 10, "progress": False}
    fit(variant, data, steps=200, **options)
    batch = data.batch(data.valid)
    with torch.no_grad():
        z = variant.posterior(variant.encode(batch["x"])).mean
        sounds = torch.cdist(*[variant.coordinates.points(batch["x"])] * 2)
        for where, least in ((z, 0.97), (variant.encode_preset(batch["v"]), 0.8)):
            distances = torch.stack([torch.cdist(where, where).flatten(), sounds.flatten()])
            assert torch.corrcoef(distances)[0, 1] > least
        assert not variant.encode_preset(batch["v"]).requires_grad
        # The first parameter says which tone a sound has.
        along = variant.axes(z)[:, 0]
        assert torch.corrcoef(torch.stack([along, batch["v"][:, 0]]))[0, 1] > 0.5
        before = variant.expected_x(z)
        assert (before - batch["x"]).square().mean() < 0.6
    assert variant.coordinates.spread[0] > variant.coordinates.spread[-1] > 0
