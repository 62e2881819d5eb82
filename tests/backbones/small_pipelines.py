"""Small random pipelines of today's classes, made and saved by diffusers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizerFast,
    PreTrainedTokenizerFast,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

CLIP_TOKENIZER = Path(__file__).parents[1] / "reference" / "backbone" / "tokenizer"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
PROMPTS = ("a red fox in a green suit", "", "a city of glass " * 12)
"""Short, empty, and long enough for more than 32 tokens of a chat."""


def small_pipeline(kind: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A pipeline of a class's name without ``Pipeline``, saved; its folder.

    ``changes``: to Stable Diffusion 3's transformer, which is else laid out as 3.5 Medium's.
    """
    torch.manual_seed(seed)
    make: dict[str, Any] = {"StableDiffusionXL": _xl, "StableDiffusion3": _sd3, "ZImage": _z_image}
    made = make[kind](**changes)
    made.save_pretrained(folder)
    return folder


def _vae(channels: int, **changes: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        **changes,
    )


def _clip(tokenizer: Any, width: int, cls: Any = CLIPTextModelWithProjection) -> Any:
    return cls(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=32,
            num_attention_heads=2,
            num_hidden_layers=3,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _xl() -> StableDiffusionXLPipeline:
    tokenizer = CLIPTokenizerFast.from_pretrained(CLIP_TOKENIZER)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32, 32),
        norm_num_groups=8,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 9),
        attention_head_dim=(2, 4, 4),
        use_linear_projection=True,
        cross_attention_dim=16 + 24,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24 + 6 * 8,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(4, scaling_factor=0.13025),
        text_encoder=_clip(tokenizer, 16, CLIPTextModel),
        text_encoder_2=_clip(tokenizer, 24),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        add_watermarker=False,
    )


def _sd3(**changes: Any) -> StableDiffusion3Pipeline:
    clip = CLIPTokenizerFast.from_pretrained(CLIP_TOKENIZER)
    words = _bytes(PreTrainedTokenizerFast, unk_token="<unk>", pad_token="<pad>")
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=len(words), d_model=48, d_ff=32, d_kv=8, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", pad_token_id=words.pad_token_id,
        )
    )  # fmt: skip
    transformer = SD3Transformer2DModel(
        sample_size=16,
        num_layers=13,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=48,
        caption_projection_dim=32,
        pooled_projection_dim=40,
        pos_embed_max_size=16,
        **{"dual_attention_layers": (0, 1), "qk_norm": "rms_norm", **changes},
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=_clip(clip, 16),
        tokenizer=clip,
        text_encoder_2=_clip(clip, 24),
        tokenizer_2=clip,
        text_encoder_3=t5,
        tokenizer_3=words,
    )  # fmt: skip


def _z_image() -> ZImagePipeline:
    words = _bytes(
        Qwen2TokenizerFast, pad_token="<pad>", eos_token="<|im_end|>", chat_template=CHAT
    )
    qwen = Qwen3Model(
        Qwen3Config(
            vocab_size=len(words), hidden_size=20, intermediate_size=32, num_hidden_layers=3,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        )
    )  # fmt: skip
    transformer = ZImageTransformer2DModel(
        dim=32, n_layers=16, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=20,
        axes_dims=[4, 6, 6], axes_lens=[600, 64, 64],
    )  # fmt: skip
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(token)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=qwen,
        tokenizer=words,
        transformer=transformer,
    )  # fmt: skip


def _bytes(cls: Any, **options: Any) -> Any:
    """A tokenizer of single bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<unk>", "</s>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(special[3:])
    return cls(tokenizer_object=tokenizer, **options)
