import { Environment as UntypedEnvironment, Interpreter as UntypedInterpreter } from "@huggingface/jinja";

/** The used part of the package, whose declarations do not resolve under nodenext. */
export interface Value {
  readonly value: unknown;
}
export interface Environment {
  set(name: string, value: unknown): void;
}
interface Node {
  readonly type: string;
  readonly [part: string]: unknown;
}
type Method = (args: readonly Value[], environment: Environment) => Value;
/** Includes methods that are private in the package's declarations; `evaluate` calls them. */
interface Interpreter {
  run(program: unknown): Value;
  evaluate(node: Node, environment: Environment): Value;
  applyFilter(operand: Value, filter: Node, environment: Environment): Value;
  evaluateArguments(args: Node[], environment: Environment): [Value[], Map<string, Value>];
  evaluateBinaryExpression(node: Node, environment: Environment): Value;
  evaluateMemberExpression(node: Node, environment: Environment): Value;
}
export const LibraryEnvironment = UntypedEnvironment as unknown as new () => Environment;
const LibraryInterpreter = UntypedInterpreter as unknown as new (environment: Environment) => Interpreter;

const mostSteps = 200_000; // at most a second; Qwen3's template takes about 300
const mostText = 1 << 20; // of a value and its items; 40,960 tokens are about 200,000 characters
export const mostItems = 10_000;
const mostDepth = 64;
const mostArgument = 128; // of an argument for each item: JSON's indent and separators, an attribute

/** A template exceeds a limit. */
export class TemplateLimitError extends Error {}

/**
 * Counts steps, and bounds every value before a filter or an operator uses it. Each evaluation of a
 * list costs its items, and of a text a 64th of its length. A list that occurs twice counts twice.
 */
export class BoundedInterpreter extends LibraryInterpreter {
  #steps = 0;
  #check: Check | undefined; // for the next arguments

  override evaluate(node: Node, environment: Environment): Value {
    if (node instanceof Ready) return node.value;
    const result = super.evaluate(node, environment);
    this.#charge(1 + weigh(result));
    return result;
  }

  override applyFilter(operand: Value, filter: Node, environment: Environment): Value {
    const name = (filter["callee"] as { value?: unknown } | undefined)?.value;
    this.#check = (args, named) => this.#charge(multiply(name, operand, args, named));
    const result = super.applyFilter(operand, filter, environment);
    this.#check = undefined;
    this.#charge(weigh(result));
    return result;
  }

  override evaluateArguments(args: Node[], environment: Environment): [Value[], Map<string, Value>] {
    const check = this.#check;
    this.#check = undefined; // not for calls inside the arguments
    const result = super.evaluateArguments(args, environment);
    check?.(...result);
    return result;
  }

  /** Checks the arguments of a text's methods that multiply, under any name. */
  override evaluateMemberExpression(node: Node, environment: Environment): Value {
    const object = this.evaluate(node["object"] as Node, environment);
    const member = super.evaluateMemberExpression({ ...node, object: new Ready(object) }, environment);
    const { value, builtins } = object as Value & { builtins: ReadonlyMap<string, Value> };
    if (typeof value !== "string" || typeof member.value !== "function") return member;
    const name = ["replace", "split"].find((multiplies) => builtins.get(multiplies) === member);
    if (name === undefined) return member;
    const call = member.value as Method;
    const checked: Method = (args, scope) => {
      this.#charge(multiply(name, object, args, new Map()));
      return call(args, scope);
    };
    return Object.assign(Object.create(member) as Value, { value: checked });
  }

  /** Charges a search in a text, which may take as many steps as the product of both lengths. */
  override evaluateBinaryExpression(node: Node, environment: Environment): Value {
    const { operator, left, right } = node;
    const sign = (operator as { value: string }).value;
    if (sign !== "in" && sign !== "not in") return super.evaluateBinaryExpression(node, environment);
    const [part, text] = [left, right].map((side) => this.evaluate(side as Node, environment));
    if (typeof part.value === "string" && typeof text.value === "string")
      this.#charge(searchSteps(part.value, text.value));
    const ready = { ...node, left: new Ready(part), right: new Ready(text) };
    return super.evaluateBinaryExpression(ready, environment);
  }

  #charge(steps: number): void {
    this.#steps += steps;
    if (this.#steps > mostSteps)
      throw new TemplateLimitError(`more than ${mostSteps} steps, no more are taken`);
  }
}

/** An evaluated node. */
class Ready implements Node {
  readonly [part: string]: unknown;
  readonly type = "Ready";
  constructor(readonly value: Value) {}
}

/** Steps of a value. @throws TemplateLimitError  it is too large or too deep */
function weigh(top: Value): number {
  let text = 0;
  let items = 0;
  const visit = ({ value }: Value, depth: number): void => {
    if (depth > mostDepth) throw new TemplateLimitError(`more than ${mostDepth} levels, no more are taken`);
    if (typeof value === "string") text += value.length;
    checkText(text);
    if (!Array.isArray(value) && !(value instanceof Map)) return;
    items += Array.isArray(value) ? value.length : value.size;
    if (items > mostItems)
      throw new TemplateLimitError(`a list of ${items} items, at most ${mostItems} are taken`);
    if (value instanceof Map) for (const key of value.keys()) text += String(key).length;
    for (const item of value.values() as Iterable<Value>) visit(item, depth + 1);
  };
  visit(top, 0);
  return items > 0 ? items : text / 64;
}

/** Checks the arguments of a filter or method, by position and by name. */
type Check = (args: readonly Value[], named: ReadonlyMap<string, Value>) => void;

function searchSteps(part: string, text: string): number {
  return (part.length * text.length) / 8192;
}

/**
 * Steps of a filter or method whose arguments multiply its input; 0 for others.
 * @throws TemplateLimitError  the result would be too long
 */
function multiply(
  name: unknown,
  { value }: Value,
  args: readonly Value[],
  named: ReadonlyMap<string, Value>,
): number {
  const [first, second] = args.map((argument) => argument.value);
  if (name === "join") checkText(sizeOf(first ?? named.get("separator")?.value) * countOf(value));
  if (name === "indent") checkText(sizeOf(first ?? named.get("width")?.value) * linesOf(value));
  if (name === "tojson") for (const part of [named.get("indent"), named.get("separators")]) checkEach(part);
  if (name === "map") checkEach(named.get("attribute"));
  if (name === "sort") for (const part of [args.at(2), named.get("attribute")]) checkEach(part);
  if ((name !== "replace" && name !== "split") || typeof value !== "string" || typeof first !== "string")
    return 0;
  const steps = searchSteps(first, value);
  if (name === "replace" && steps <= mostSteps) checkText(sizeOf(second) * timesIn(value, first));
  return steps;
}

function timesIn(text: string, part: string): number {
  return part === "" ? text.length + 1 : text.split(part).length - 1;
}

function linesOf(value: unknown): number {
  return typeof value === "string" ? timesIn(value, "\n") + 1 : 1;
}

function countOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : 1;
}

/** Characters of a text, or a number's value, which JSON's indent may be. */
function sizeOf(value: unknown): number {
  return typeof value === "string" ? value.length : typeof value === "number" ? Math.abs(value) : 0;
}

function checkText(size: number): void {
  if (!(size <= mostText))
    throw new TemplateLimitError(`a text of ${size} characters, at most ${mostText} are taken`);
}

/** Checks the size of an argument that is used for each item, or of each in a list of them. */
function checkEach(argument: Value | undefined): void {
  if (argument === undefined) return;
  for (const { value } of Array.isArray(argument.value) ? (argument.value as Value[]) : [argument]) {
    const size = sizeOf(value);
    if (!(size <= mostArgument))
      throw new TemplateLimitError(`an argument of ${size}, at most ${mostArgument} is taken`);
  }
}
