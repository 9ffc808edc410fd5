"""Train the miniature's wider Qwen3 on text alone: to repeat a sentence of the demo's domain, and
to translate it.

    python text_llm.py --out DIR [--steps 2800] [--batch 64] [--rate 2e-3] [--threads 1] [--seed 1]

It never sees audio. A request has the wording of one about speech, with the sentence where the
audio will be; so that the sentence may later come as audio embeddings, two in three are given
roughly: each token several times, pauses between (the audio token; in half of them as many as the
frames of speech, and at least one between equal tokens), copies that are tokens the sentence has
not, neighbours mixed, noise added. A quarter of the sentences are numbers of two to four different
digits: the hardest to repeat, as their place alone separates equal digits apart. Sentences of the
test split are never used. Loss: mean cross-entropy on the answer and its closing <|im_end|>. What
is saved is the running mean of the weights, in bf16, with the demo's tokenizer; it is measured as
saved, greedily, on sentences of the test split.
"""

import argparse
import copy
import json
import random
import shutil
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

HERE = Path(__file__).parent
DEMO = HERE.parent.parent / "demo"
sys.path.insert(0, str(DEMO / "recipe"))

from domain import digit_pair, draw_pair, split_of  # noqa: E402
from evaluate import canonical, edit_distance  # noqa: E402
from fast_linear import use_rounded_products  # noqa: E402
from model import load_tokenizer  # noqa: E402
from prompts import AUDIO_TOKEN, ENGLISH_PROMPTS, SPOKEN_NAME, chat_template, render, transcription  # noqa: E402
from train import follow, groups, one_cycle  # noqa: E402

WORDINGS = json.loads((HERE / "wordings.json").read_text("utf-8"))
LANGUAGES = ("en", "zh")
WIDTH = 384
ROUGH_SHARE = 2 / 3
REPEAT_SHARE = 0.4  # of the requests; the others translate, half of them into English
NUMBER_SHARE = 0.25  # beside those of the domain's own sentences
EMPTY_SHARE = 0.02  # pauses alone, with the empty answer
MEAN_DECAY = 0.995
POOL = 20  # batches drawn and sorted by length together


def make_config(tokenizer):
    """Twice the demo's width: 4 layers of 384, 8 heads of 32 over 2 key-value heads, tied head."""
    return Qwen3Config(
        vocab_size=-(-tokenizer.get_vocab_size() // 16) * 16, hidden_size=WIDTH, intermediate_size=704, num_hidden_layers=4,
        num_attention_heads=8, num_key_value_heads=2, head_dim=32, max_position_embeddings=2048, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        eos_token_id=tokenizer.token_to_id("<|im_end|>"), pad_token_id=tokenizer.token_to_id("<|endoftext|>"), bos_token_id=None,
    )


def repeat_content(rng, language):
    """A transcription request's content and its itn, as the demo was trained with, the audio token
    in it.
    """
    if rng.random() < 0.1:
        return rng.choice(ENGLISH_PROMPTS[language]) + AUDIO_TOKEN, True
    return transcription(SPOKEN_NAME[language] if rng.random() < 0.66 else None), rng.random() >= 0.1


def translate_content(rng, target):
    """A translation request's content, the audio token in it."""
    return rng.choice(WORDINGS["speech" if rng.random() < 0.75 else "text"][target]) + AUDIO_TOKEN


class Requests:
    """Draws requests: prompt ids before and after the sentence, the sentence's ids as they are
    given, the answer's ids.
    """

    def __init__(self, tokenizer, seed, split="train"):
        self.tokenizer, self.split, self.rng = tokenizer, split, random.Random(seed)
        self.template = chat_template()
        self.audio = tokenizer.token_to_id(AUDIO_TOKEN)
        self.stop = tokenizer.token_to_id("<|im_end|>")
        self.plain = tokenizer.get_vocab_size(with_added_tokens=False)
        self.frames = {}

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def frame(self, content, itn=True):
        """(ids before the audio token, ids after it) of a request."""
        text = render(self.template, content, itn)
        if text not in self.frames:
            ids = self.encode(text)
            slot = ids.index(self.audio)
            self.frames[text] = (ids[:slot], ids[slot + 1 :])
        return self.frames[text]

    def roughen(self, ids):
        """As an adaptor may give a sentence: half the time densely, half the time along the frames
        of speech.
        """
        return self.dense(ids) if self.rng.random() < 0.5 else self.spoken(ids)

    def copies(self, token, count):
        """A token several times over; of all but the last copy one in forty is a token that the
        sentence has not.
        """
        return [self.foreign() if self.rng.random() < 1 / 40 else token for _ in range(count - 1)] + [token]

    def foreign(self):
        """Any token of text that is not in the sentence: a word of it between two copies of another
        is to be read, as in 6 1 6.
        """
        while True:
            token = self.rng.randrange(self.plain)
            if token not in self.seen:
                return token

    def dense(self, ids):
        """Each token 1 to 5 times, pauses between at the example's own rate."""
        rng, out = self.rng, []
        most, pause = rng.randint(1, 5), rng.choice([0.0, 0.0, 0.3, 0.6])
        for before, token in zip([None, *ids], ids):
            out += [self.audio] * (before == token) + self.copies(token, rng.randint(1, most))
            while rng.random() < pause / 1.5:
                out.append(self.audio)
        return out

    def spoken(self, ids):
        """Each token 1 to 3 times somewhere in the frames that it takes, the rest of them pauses;
        silence before and after.
        """
        rng, out = self.rng, [self.audio] * self.rng.randint(0, 10)
        most, going_on = rng.randint(1, 3), rng.uniform(0.4, 0.88)
        for before, token in zip([None, *ids], ids):
            copies, frames = self.copies(token, rng.randint(1, most)), 1
            while frames < 20 and rng.random() < going_on:
                frames += 1
            pauses = max(0, frames - len(copies))
            lead = rng.randint(0, pauses)
            if before == token and out[-1] != self.audio:
                lead = max(1, lead)
            out += [self.audio] * lead + copies + [self.audio] * max(0, pauses - lead)
        return out + [self.audio] * rng.randint(0, 14)

    def number(self):
        """A number digit by digit as a pair of the split, with two to four different digits."""
        while True:
            digits = self.rng.sample(range(10), self.rng.randint(2, 4))
            pair = tuple(digit_pair(self.rng.choices(digits, k=self.rng.randint(3, 8))))
            if split_of(pair[0]) == self.split:
                return pair

    def draw(self):
        """((ids before, sentence, ids after, answer), rough)."""
        rng = self.rng
        source = rng.choice(LANGUAGES)
        repeat = rng.random() < REPEAT_SHARE
        content, itn = repeat_content(rng, source) if repeat else (translate_content(rng, "zh" if source == "en" else "en"), True)
        before, after = self.frame(content, itn)
        if rng.random() < EMPTY_SHARE:
            return (before, [self.audio] * rng.randint(1, 40), after, [self.stop]), True
        pair = dict(zip(LANGUAGES, self.number() if rng.random() < NUMBER_SHARE else draw_pair(rng, self.split)))
        sentence = self.encode(pair[source])
        self.seen = sentence
        answer = sentence if repeat else self.encode(pair["zh" if source == "en" else "en"])
        rough = rng.random() < ROUGH_SHARE
        return (before, self.roughen(sentence) if rough else sentence, after, answer + [self.stop]), rough

    def batches(self, size):
        """Endless batches of about equal length."""
        while True:
            pool = sorted((self.draw() for _ in range(size * POOL)), key=lambda r: sum(map(len, r[0])))
            groups_of = [pool[i : i + size] for i in range(0, len(pool), size)]
            self.rng.shuffle(groups_of)
            yield from groups_of


def embed(model, batch, stop):
    """(embeddings, mask, labels) of a batch; a rough sentence's neighbours are mixed and noise is
    added to it.
    """
    length = max(sum(map(len, parts)) for parts, _ in batch) - 1
    ids = torch.full((len(batch), length), stop)
    mask, labels = torch.zeros(len(batch), length, dtype=torch.long), torch.full((len(batch), length), -100)
    given = torch.zeros(len(batch), length, 1)
    mix, noise = torch.rand(len(batch), 1, 1) * 0.5, torch.rand(len(batch), 1, 1) * 0.5
    for i, ((before, sentence, after, answer), rough) in enumerate(batch):
        whole = torch.tensor(before + sentence + after + answer)
        ids[i, : len(whole) - 1] = whole[:-1]
        mask[i, : len(whole) - 1] = 1
        labels[i, len(whole) - 1 - len(answer) : len(whole) - 1] = torch.tensor(answer)
        given[i, len(before) : len(before) + len(sentence)] = float(rough)
    x = model.get_input_embeddings()(ids)
    mixed = torch.cat([x[:, :1], (1 - mix) * x[:, 1:] + mix * x[:, :-1]], 1)
    size = x.detach().square().mean().sqrt()
    return x + given * (mixed - x + noise * size * torch.randn_like(x)), mask, labels


def loss_of(model, batch, stop):
    x, mask, labels = embed(model, batch, stop)
    hidden = model.model(inputs_embeds=x, attention_mask=mask, use_cache=False).last_hidden_state
    wanted = labels >= 0
    return functional.cross_entropy(model.lm_head(hidden[wanted]).float(), labels[wanted])


@torch.no_grad()
def answers(model, tokenizer, prompts, size=50):
    """Greedy answers to prompts of ids, padded on the left."""
    stop, texts, order = model.config.eos_token_id, [None] * len(prompts), sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        length = max(len(prompts[i]) for i in rows)
        ids = torch.tensor([[stop] * (length - len(prompts[i])) + prompts[i] for i in rows])
        mask = torch.tensor([[0] * (length - len(prompts[i])) + [1] * len(prompts[i]) for i in rows])
        out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=48, do_sample=False)
        for i, row in zip(rows, out):
            texts[i] = tokenizer.decode(row[length:].tolist(), skip_special_tokens=True)
    return texts


def score(references, hypotheses):
    """{exact: share of sentences to the letter, cer: canonical character error rate}."""
    edits = sum(edit_distance(canonical(r), canonical(h)) for r, h in zip(references, hypotheses))
    exact = sum(r == h for r, h in zip(references, hypotheses)) / len(references)
    return {"exact": exact, "cer": edits / sum(len(canonical(r)) for r in references)}


def measure(model, tokenizer, split, count, seed):
    """Scores of repeating and translating `count` true sentences of a split in each direction,
    given plainly and roughly.
    """
    requests, table = Requests(tokenizer, f"{seed}-measure", split), {}
    for source, target in [("en", "zh"), ("zh", "en"), ("en", "en"), ("zh", "zh")]:
        rng = random.Random(f"{seed}-{split}-{source}-{target}")
        pairs = [dict(zip(LANGUAGES, draw_pair(rng, split))) for _ in range(count)]
        content = transcription(SPOKEN_NAME[source]) if source == target else WORDINGS["speech"][target][0] + AUDIO_TOKEN
        before, after = requests.frame(content)
        for given in ("plain", "rough"):
            prompts = []
            for pair in pairs:
                requests.seen = requests.encode(pair[source])
                prompts.append(before + (requests.seen if given == "plain" else requests.roughen(requests.seen)) + after)
            table[f"{source}-{target} {given}"] = score([p[target] for p in pairs], answers(model, tokenizer, prompts))
    return table


def show(table):
    for name, row in table.items():
        print(f"  {name:12} exact {100 * row['exact']:.2f} %  cer {100 * row['cer']:.2f} %", flush=True)


def save(model, tokenizer, out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rounded = Qwen3ForCausalLM(model.config).to(torch.bfloat16)
    rounded.load_state_dict(model.state_dict())
    stop, end = (tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>"))
    rounded.generation_config = GenerationConfig(do_sample=False, eos_token_id=[stop, end], pad_token_id=end, max_new_tokens=128)
    rounded.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO / name, out / name)


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    tokenizer = load_tokenizer()
    model = Qwen3ForCausalLM(make_config(tokenizer)).train()
    mean = copy.deepcopy(model)
    use_rounded_products(model)
    requests = Requests(tokenizer, args.seed)
    batches = requests.batches(args.batch)
    optimiser = torch.optim.AdamW(groups(model), lr=args.rate, betas=(0.9, 0.98), fused=True)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    start, recent = time.time(), []
    for step in range(1, args.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = args.rate * one_cycle(step / args.steps)
        loss = loss_of(model, next(batches), requests.stop)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        follow(mean, model, min(MEAN_DECAY, 1 - 10 / (step + 10)))
        recent.append(loss.item())
        if step % args.report == 0:
            print(f"{step} {time.time() - start:.0f}s  train {sum(recent) / len(recent):.4f}", flush=True)
            recent = []
        if step % args.save == 0 or step == args.steps:
            save(mean, tokenizer, args.out)
            show(measure(mean.eval(), tokenizer, "validation", 50, args.seed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", type=int, default=50)
    parser.add_argument("--save", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", action="store_true", help="only measure what --out holds")
    args = parser.parse_args()
    if not args.measure:
        train(args)
    table = measure(Qwen3ForCausalLM.from_pretrained(args.out, dtype=torch.float32).eval(), load_tokenizer(), "test", 300, args.seed)
    print("test")
    show(table)
    Path(args.out, "scores.json").write_text(json.dumps(table, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
