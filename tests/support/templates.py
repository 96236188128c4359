"""Chat templates in the manner of well-known models, and a tokenizer of single bytes that takes them."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA = """{{ bos_token }}{% if messages[0].role == 'system' %}{% set told = messages[0].content | trim %}\
{% set turns = messages[1:] %}{% else %}{% set told = '' %}{% set turns = messages %}{% endif %}\
<|start_header_id|>system<|end_header_id|>

Today: {{ date_string if date_string is defined else strftime_now('%d %b %Y') }}

{{ told }}<|eot_id|>{% for m in turns %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}\
<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

GEMMA = """{{ bos_token }}{% if messages[0].role == 'system' %}\
{{ raise_exception('No system role') }}{% endif %}\
{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Roles must alternate') }}{% endif %}<start_of_turn>\
{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

MISTRAL = """{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Roles must alternate user and assistant') }}{% endif %}{% if m.role == 'user' %}\
[INST] {{ m.content }} [/INST]{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}\
{% else %}{{ raise_exception('Only user and assistant') }}{% endif %}{% endfor %}"""

THINKING = """{% for m in messages %}{% if m.role == 'assistant' and loop.last %}<|im_start|>assistant
<think>

</think>

{{ m.content }}<|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endif %}"""

# It shows what an assistant said earlier without its thoughts.
FORGETS_THOUGHTS = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' else m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
HIDDEN_THINKING = THINKING.replace("enable_thinking", "no_such_name")
PLAIN = """{% for m in messages %}{{ m.role }}: {{ m.content }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""
FORGETFUL = """{% for m in messages[-1:] %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# Templates that take tools, in the manner of Qwen 2.5, Llama 3.1, Mistral and Qwen 3 Coder.
HERMES = """{% if tools %}{{ '<|im_start|>system\n' }}{% if messages[0].role == 'system' %}\
{{ messages[0].content + '\n\n' }}{% endif %}{{ '# Tools\n<tools>' }}{% for tool in tools %}\
{{ '\n' + (tool | tojson) }}{% endfor %}{{ '\n</tools>\nCall one in <tool_call></tool_call><|im_end|>\n' }}\
{% elif messages[0].role == 'system' %}{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}\
{% endif %}{% for m in messages %}{% if m.role == 'system' and loop.first %}{% elif m.role == 'tool' %}\
{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}{% else %}\
{{ '<|im_start|>' + m.role }}{% if m.content %}{{ '\n' + m.content }}{% endif %}\
{% for call in m.tool_calls or [] %}{{ '\n<tool_call>\n' }}\
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\
{{ '\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

LLAMA_TOOLS = """{% set ns = namespace(shown=false) %}{{ bos_token }}{% for m in messages %}\
{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}\
{% if m.role == 'user' and tools and not ns.shown %}{% set ns.shown = true %}{{ 'Answer with JSON.\n' }}\
{% for tool in tools %}{{ (tool | tojson) + '\n' }}{% endfor %}{% endif %}{% if m.tool_calls %}\
{% if m.tool_calls | length != 1 %}{{ raise_exception('One call at once') }}{% endif %}\
{"name": "{{ m.tool_calls[0].function.name }}", \
"parameters": {{ m.tool_calls[0].function.arguments | tojson }}}\
{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""

MISTRAL_TOOLS = """{% set ns = namespace(shown=false) %}{{ bos_token }}{% for m in messages %}\
{% if m.role == 'system' %}[INST] {{ m.content }}[/INST]{% elif m.role == 'user' %}\
{% if tools and not ns.shown %}{% set ns.shown = true %}\
[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST] {{ m.content }}[/INST]\
{% elif m.role == 'tool' %}[TOOL_RESULTS] {{ m.content }}[/TOOL_RESULTS]{% elif m.tool_calls %}[TOOL_CALLS] [\
{% for call in m.tool_calls %}{% if call.id | length != 9 %}{{ raise_exception('Ids have nine letters') }}\
{% endif %}{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, \
"id": "{{ call.id }}"}{% if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}\
{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"""

XML_TOOLS = HERMES.replace(
    """{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}""",
    "<function={{ call.function.name }}>{% for key, value in call.function.arguments.items() %}"
    "<parameter={{ key }}>{{ value }}</parameter>{% endfor %}</function>",
)

END = {
    "CHATML": "<|im_end|>", "LLAMA": "<|eot_id|>", "GEMMA": "<end_of_turn>", "MISTRAL": "</s>",
    "THINKING": "<|im_end|>", "HIDDEN_THINKING": "<|im_end|>", "PLAIN": "</s>",
}  # fmt: skip
MARKS = [
    "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>",
    "<end_of_turn>",
]  # fmt: skip


def tokenizer_with(template: str | None, added: Sequence[AddedToken] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are bytes, the marks of these templates and what is `added`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", extra_special_tokens=MARKS
    )
    made.add_tokens(list(added))
    made.chat_template = template
    return made
