import { Environment as UntypedEnvironment, Interpreter as UntypedInterpreter } from "@huggingface/jinja";

/** What is used of the package, whose own declarations do not resolve under nodenext (imports without ".js"). */
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
/** Methods that the package's declarations call private: they are what its `evaluate` hands the nodes to. */
interface Interpreter {
  run(program: unknown): Value;
  evaluate(node: Node, environment: Environment): Value;
  applyFilter(operand: Value, filter: Node, environment: Environment): Value;
  evaluateArguments(args: Node[], environment: Environment): [Value[], Map<string, Value>];
  evaluateBinaryExpression(node: Node, environment: Environment): Value;
  evaluateCallExpression(node: Node, environment: Environment): Value;
}
export const LibraryEnvironment = UntypedEnvironment as unknown as new () => Environment;
const LibraryInterpreter = UntypedInterpreter as unknown as new (environment: Environment) => Interpreter;

const mostSteps = 200_000; // a second at most; Qwen3's template takes some 300
const mostText = 1 << 20; // of a value and all that it holds; a context of 40,960 tokens has some 200,000 characters
export const mostItems = 10_000;
const mostDepth = 64;
const mostArgument = 128; // characters or size of an argument that multiplies a text, such as the separator of join

/** A template asks for more than a prompt can need. */
export class TemplateLimitError extends Error {}

/**
 * Counts steps, and bounds every value before a filter or an operator can work on it: a list costs all that it holds, each time that
 * it is met, and a text a 64th of its length. A list that holds one list twice counts it twice, as its text would.
 */
export class BoundedInterpreter extends LibraryInterpreter {
  #steps = 0;
  #multiplies = false; // the arguments to be evaluated next multiply a text

  override evaluate(node: Node, environment: Environment): Value {
    if (node instanceof Ready) return node.value;
    const result = super.evaluate(node, environment);
    this.#charge(1 + weigh(result));
    return result;
  }

  override applyFilter(operand: Value, filter: Node, environment: Environment): Value {
    this.#multiplies = filter.type === "CallExpression";
    const result = super.applyFilter(operand, filter, environment);
    this.#multiplies = false;
    this.#charge(weigh(result));
    return result;
  }

  override evaluateCallExpression(node: Node, environment: Environment): Value {
    this.#multiplies = (node["callee"] as Node | undefined)?.type === "MemberExpression";
    return super.evaluateCallExpression(node, environment);
  }

  override evaluateArguments(args: Node[], environment: Environment): [Value[], Map<string, Value>] {
    const multiplies = this.#multiplies;
    this.#multiplies = false; // not those inside
    const found = super.evaluateArguments(args, environment);
    if (multiplies) for (const value of [...found[0], ...found[1].values()]) checkArgument(value);
    return found;
  }

  /** Looking for a text in another may take as many steps as the product of both. */
  override evaluateBinaryExpression(node: Node, environment: Environment): Value {
    const { operator, left, right } = node;
    const sign = (operator as { value: string }).value;
    if (sign !== "in" && sign !== "not in") return super.evaluateBinaryExpression(node, environment);
    const [part, whole] = [left, right].map((side) => this.evaluate(side as Node, environment));
    if (typeof part.value === "string" && typeof whole.value === "string")
      this.#charge((part.value.length * whole.value.length) / 8192);
    const ready = { ...node, left: new Ready(part), right: new Ready(whole) };
    return super.evaluateBinaryExpression(ready, environment);
  }

  #charge(steps: number): void {
    this.#steps += steps;
    if (this.#steps > mostSteps)
      throw new TemplateLimitError(`more than ${mostSteps} steps, no more are taken`);
  }
}

/** A node whose value is known. */
class Ready implements Node {
  readonly [part: string]: unknown;
  readonly type = "Ready";
  constructor(readonly value: Value) {}
}

/** Steps that a value costs. @throws TemplateLimitError  it holds too much, or too deep */
function weigh(top: Value): number {
  let text = 0;
  let items = 0;
  const visit = ({ value }: Value, depth: number): void => {
    if (depth > mostDepth) throw new TemplateLimitError(`more than ${mostDepth} levels, no more are taken`);
    if (typeof value === "string") text += value.length;
    if (text > mostText)
      throw new TemplateLimitError(`a text of ${text} characters, at most ${mostText} are taken`);
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

function checkArgument(argument: Value): void {
  const parts = Array.isArray(argument.value) ? (argument.value as Value[]) : [argument];
  for (const { value } of parts) {
    const size = typeof value === "string" ? value.length : typeof value === "number" ? Math.abs(value) : 0;
    if (!(size <= mostArgument))
      throw new TemplateLimitError(`an argument of ${size}, at most ${mostArgument} is taken`);
  }
}
