/** Beginnings of words in -our that are American in -or, whatever follows. */
const our =
  "arb|ard|arm|behavi|cand|clam|clang|col|demean|discol|dishon|disfav|enam|endeav|fav|ferv|flav|harb|hon|hum|lab|misdemean|multicol|neighb|od|parl|ranc|rig|rum|sav|savi|splend|succ|tum|val|vap|vig|watercol";

/** Verbs in -ise that are American in -ize, without that end. */
const ise =
  "anglic|antagon|apolog|author|capital|categor|character|civil|colon|commercial|computer|critic|crystall|custom|digit|econom|emphas|energ|equal|external|familiar|fantas|fertil|final|formal|general|global|harmon|hospital|hypnot|ideal|immun|individual|industrial|initial|internal|item|jeopard|legal|liberal|local|material|maxim|mechan|memor|minim|mobil|modern|monopol|national|natural|neutral|normal|optim|organ|oxid|patron|penal|personal|philosoph|polar|popular|pressur|priorit|privat|public|random|rational|real|recogn|reorgan|revital|revolution|scrutin|sensit|serial|social|special|stabil|standard|steril|subsid|summar|symbol|sympath|synchron|terror|theor|trivial|urban|util|vandal|visual|vocal|western";

/** Verbs that double their l in British forms alone. */
const doubled =
  "bevel|cancel|channel|chisel|counsel|dial|duel|enamel|equal|fuel|funnel|grovel|initial|jewel|label|level|libel|marvel|model|panel|pedal|pencil|quarrel|revel|rival|shovel|shrivel|signal|snivel|spiral|swivel|total|travel|tunnel|unravel";

const re =
  "cent|theat|amphitheat|epicent|met|centimet|kilomet|millimet|lit|millilit|fib|sab|somb|spect|calib|lust|meag|mit|och|sepulch";

/** Words whole, with the ends that they may have. */
const rows: readonly (readonly [british: string, american: string, ends: string])[] = [
  ["defence", "defense", "s|less"],
  ["offence", "offense", "s"],
  ["pretence", "pretense", "s"],
  ["licence", "license", "s"],
  ["practise", "practice", "s|d"],
  ["practising", "practicing", ""],
  ["fulfil", "fulfill", "s|ment"],
  ["enrol", "enroll", "s|ment|ments"],
  ["instalment", "installment", "s"],
  ["distil", "distill", "s"],
  ["instil", "instill", "s"],
  ["skilful", "skillful", "ly"],
  ["wilful", "willful", "ly"],
  ["traveller", "traveler", "s"],
  ["jewellery", "jewelry", ""],
  ["catalogue", "catalog", "s|d"],
  ["dialogue", "dialog", "s"],
  ["analogue", "analog", "s"],
  ["monologue", "monolog", "s"],
  ["grey", "gray", "s|ed|er|ish"],
  ["cheque", "check", "s|book|books"],
  ["tyre", "tire", "s"],
  ["kerb", "curb", "s"],
  ["plough", "plow", "s|ed|ing"],
  ["programme", "program", "s"],
  ["mould", "mold", "s|y|ed|ing"],
  ["moustache", "mustache", "s|d"],
  ["pyjamas", "pajamas", ""],
  ["aluminium", "aluminum", ""],
  ["aeroplane", "airplane", "s"],
  ["storey", "story", ""],
  ["storeys", "stories", ""],
  ["sceptic", "skeptic", "s|al|ally|ism"],
  ["judgement", "judgment", "s|al"],
  ["acknowledgement", "acknowledgment", "s"],
  ["ageing", "aging", ""],
  ["cosy", "cozy", ""],
  ["doughnut", "donut", "s"],
  ["draught", "draft", "s|y"],
  ["gaol", "jail", "s|ed"],
  ["manoeuvre", "maneuver", "s|d"],
  ["manoeuvring", "maneuvering", ""],
  ["woollen", "woolen", "s"],
  ["marvellous", "marvelous", "ly"],
  ["centred", "centered", ""],
  ["centring", "centering", ""],
  ["mum", "mom", "s|my"],
];

const whole = new Map(
  rows.flatMap(([british, american, ends]) =>
    ["", ...ends.split("|")].map((end): [string, string] => [british + end, american + end]),
  ),
);

const patterns: readonly (readonly [RegExp, string])[] = [
  [new RegExp(`^((?:un)?(?:${our}))our`, "u"), "$1or"],
  [
    new RegExp(`^((?:un|re|de|dis)?(?:${ise}))is(e|ed|es|er|ers|ing|able|ation|ations|ational)$`, "u"),
    "$1iz$2",
  ],
  [/^((?:psycho|over)?(?:anal|paral|catal)|breathal)ys(e|ed|es|er|ers|ing)$/u, "$1yz$2"],
  [new RegExp(`^(${doubled})l(ed|ing|ings|er|ers|or|ors)$`, "u"), "$1$2"],
  [new RegExp(`^(${re})re(s?)$`, "u"), "$1er$2"],
  [/^(leuk|an|h|gyn|orthop|p)ae(?=m|sth|c|diat|dic)/u, "$1e"],
  [/^o(?=estrogen|esophag)/u, ""],
  [/^(f|diarrh)oe(?=tus|tal|a$)/u, "$1e"],
];

/**
 * The American spelling of a British word, by endings and a short list of our own; other words
 * stay. Whisper takes a list of 1,700 words (tysto.com/uk-us-spelling-list.html), whose licence is
 * not known.
 */
export function americanSpelling(word: string): string {
  const found = whole.get(word);
  if (found !== undefined) return found;
  for (const [british, american] of patterns) if (british.test(word)) return word.replace(british, american);
  return word;
}
