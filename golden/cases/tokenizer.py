"""Tokenizer case: strings → ids → text by the `tokenizers` library and the real Qwen3 tokenizer, as
JSON.
"""

import json
from importlib.metadata import version

from prompts import PROMPTS, prompt_text, tokenizer

WORDS = [
    "", " ", "  ", "a", "hello", "Hello", "HELLO", " hello", "hello ", "hello world", "Hello, world!", "don't", "I'll we've they're he'd I'm it's",
    "DON'T", "rock 'n' roll", "naïve café résumé", "coöperate", "state-of-the-art", "e.g. i.e. etc.", "U.S.A.", "end.Start", "snake_case_name",
    "camelCaseName", "kebab-case-name", "antidisestablishmentarianism", "a" * 300, "ab" * 130, "the " * 40, "supercalifragilistic" * 8,
    "The quick brown fox jumps over the lazy dog.", "Turn on the kitchen light", "Set the temperature to 21.5 degrees", "What's the weather like?",
]  # fmt: skip
WHITESPACE = [
    "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", " \n \n ", "a\nb", "a\n\nb", "a \n b", "a  b", "a   b", "a    b", "   a", "a   ",
    "a\tb", "\ta", "a\r\nb", "a\u00a0b", "a\u3000b", "\u2003a", "a\u200bb", "\ufeffabc", "line one\n  line two\n    line three\n", " " * 17, "\n" * 9,
    " \t \n \t ", "a\u2028b", "a\u0085b", "a\x0bb", "a\x0cb",
]  # fmt: skip
NUMBERS = [
    "0", "1", "12", "123", "1234", "12345", "1234567890", "3.14159", "-1", "1,000,000", "1e-5", "0x1F", "50%", "$9.99", "2024-02-29", "12:30:45",
    "+86 138 0013 8000", "192.168.0.1", "1/2", "½", "x²", "H₂O", "Ⅳ", "①②③", "٣٤٥", "१२३", "一二三四五", "１２３", "007", "1st 2nd 3rd", "v1.2.3-rc.4",
]  # fmt: skip
SCRIPTS = [
    "你好", "你好，世界！", "语音转写：", "语音转写成中文：", "语音转写成英文，不进行文本规整：", "请结合上下文信息，更加准确地完成语音转写任务。", "打开客厅的灯",
    "把空调调到二十六度", "今天天气怎么样？", "中文English混合text文本", "我有3个苹果和2.5kg香蕉", "龘靐齉", "𠮷野家", "繁體中文測試", "「引號」『書名』《》、。",
    "こんにちは", "カタカナ", "ひらがなとカタカナと漢字", "東京タワー", "ﾊﾝｶｸ", "안녕하세요", "한국어 문장입니다.", "ㅋㅋㅋ", "Привет, мир!", "Ёлка", "Γειά σου Κόσμε",
    "ß ẞ ﬁ ﬂ", "ǅ ǆ", "İstanbul ıi", "Việt Nam", "ภาษาไทย", "हिन्दी में", "বাংলা", "தமிழ்", "ქართული", "Հայերեն", "አማርኛ", "ខ្មែរ", "မြန်မာ",
    "العربية", "مرحبا بالعالم", "שלום עולם", "RTL שלום and LTR", "فارسی می‌خواهم", "\u202eabc\u202c", "ᚠᚢᚦ", "𐍈𐍉", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "Ｆｕｌｌｗｉｄｔｈ",
]  # fmt: skip
MARKS = [
    "e\u0301", "é", "o\u0308 ö", "a\u0323\u0302", "ậ", "Z\u0351\u036b\u0343a\u0337l\u0334go", "n\u0303", "\u0301", "\u0301\u0301", "g\u0308", "한", "\u1112\u1161\u11ab",
    "नि", "ni\u200dn", "a\u200db", "\u200f", "\u00ad", "Å \u212b", "ﷺ", "\u0e19\u0e33",
]  # fmt: skip
EMOJI = [
    "😀", "😀😀😀", "👍🏽", "👨‍👩‍👧‍👦", "🇨🇳🇺🇸", "❤️", "❤", "1️⃣", "🏳️‍🌈", "a😀b", "😀 text", "☃", "™ © ®", "→ ← ⇒", "∑∫√∞≠", "♫♪", "🤷🏻‍♀️", "🫠", "⌚️⏰",
]  # fmt: skip
CODE = [
    "def f(x):\n    return x + 1\n", "for (let i = 0; i < n; i++) { sum += a[i]; }", "<div class=\"x\">&nbsp;</div>", "SELECT * FROM t WHERE a = 'b';",
    "#include <stdio.h>\n", "\\n \\t \\\\", "{\"key\": [1, 2, null, true]}", "https://example.org/a?b=c&d=%20#e", "user@example.org", "/usr/local/bin", "C:\\Windows\\x",
    "@compute @workgroup_size(64)\nfn main() {}", "a+b=c", "!!!", "???", "...", "……", "——", "~~~~", "====", "****", "((()))", "[[]]", "`code`", "$x^2$", "--flag=value",
    "\x00", "\x01\x02", "\x7f", "a\x00b",
]  # fmt: skip
SPECIAL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|object_ref_start|>", "<|object_ref_start|>" * 5, "<|object_ref_end|>", "<|im_start|>user\nhi<|im_end|>\n",
    " <|im_end|> ", "<|im_end|><|im_end|>", "a<|endoftext|>b", "<|im_start|", "<|IM_START|>", "<| im_start |>", "<|startofspeech|>", "<|startofspeech|>x<|endofspeech|>",
    "<think>", "<think>\n\n</think>\n\n", "</think>", "<tool_call>", "<tool_call>\n{}\n</tool_call>", "<|vision_start|><|image_pad|><|vision_end|>", "<|fim_prefix|>", "<|box_start|>(1,2)<|box_end|>",
    "<|extra_0|>", "<think", "你好<|im_end|>", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
]  # fmt: skip


def strings() -> list[str]:
    """All texts, prompts of the model cases included, without repeats."""
    prompts = [prompt_text(name, rows) for name in PROMPTS for rows in (1, 7)]
    return list(dict.fromkeys(WORDS + WHITESPACE + NUMBERS + SCRIPTS + MARKS + EMOJI + CODE + SPECIAL + prompts))


def build() -> bytes:
    """{"strings": [{text, ids, decoded}], "versions", "tokenizer"}; decoded keeps special tokens.
    """
    real = tokenizer()
    rows = []
    for text in strings():
        ids = real.encode(text).ids
        rows.append({"text": text, "ids": ids, "decoded": real.decode(ids, skip_special_tokens=False)})
    assert len(rows) == 251, len(rows)
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    head = json.dumps({"tokenizers": version("tokenizers")})
    return f'{{"case": "tokenizer", "kind": "tokenizer", "versions": {head}, "strings": [\n{lines}\n]}}\n'.encode()
