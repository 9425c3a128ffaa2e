import { isObject, type JsonObject } from "./json.ts";

/**
 * Evaluates the little of CEL that filters and keys are usually written in: paths, literals, `+`, comparisons, `&&`,
 * `||`, `!` and parentheses.
 *
 * @throws SyntaxError for everything else
 */
export function evaluate(expression: string, names: JsonObject): unknown {
  const reader = new Reader(expression, names);
  const value = reader.either();
  reader.end();
  return value;
}

/** Whether a condition's expression is true; an empty one is, and one that cannot be evaluated is not. */
export function holds(expression: string, names: JsonObject): boolean {
  if (expression.trim() === "") return true;
  try {
    return evaluate(expression, names) === true;
  } catch {
    // The real engine notes it in its log, and nothing matches.
    return false;
  }
}

type Compare = (left: unknown, right: unknown) => boolean;

const comparisons: Readonly<Record<string, Compare>> = {
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  "<=": (left, right) => order(left, right) <= 0,
  ">=": (left, right) => order(left, right) >= 0,
  "<": (left, right) => order(left, right) < 0,
  ">": (left, right) => order(left, right) > 0,
};

/** One method for each level of precedence, the loosest first. */
class Reader {
  readonly #tokens: readonly string[];
  readonly #names: JsonObject;
  #at = 0;

  constructor(text: string, names: JsonObject) {
    this.#names = names;
    this.#tokens = text.match(/"(?:[^"\\]|\\.)*"|'[^']*'|\d+(?:\.\d+)?|[A-Za-z_]\w*|[=!<>]=|&&|\|\||\S/g) ?? [];
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new SyntaxError(`unexpected ${this.#tokens[this.#at]}`);
  }

  either(): unknown {
    let value = this.#both();
    while (this.#skip("||")) value = this.#both() === true || value === true;
    return value;
  }

  #both(): unknown {
    let value = this.#compared();
    while (this.#skip("&&")) value = this.#compared() === true && value === true;
    return value;
  }

  #compared(): unknown {
    const left = this.#sum();
    const compare = comparisons[this.#tokens[this.#at] ?? ""];
    if (compare === undefined) return left;
    this.#at++;
    return compare(left, this.#sum());
  }

  #sum(): unknown {
    let value = this.#one();
    while (this.#skip("+")) value = sum(value, this.#one());
    return value;
  }

  #one(): unknown {
    const token = this.#tokens[this.#at++] ?? "";
    if (token === "!") return this.#one() !== true;
    if (token === "(") {
      const value = this.either();
      if (!this.#skip(")")) throw new SyntaxError("a parenthesis is not closed");
      return value;
    }
    if (token.startsWith('"')) return JSON.parse(token);
    if (token.startsWith("'") && token.length > 1) return token.slice(1, -1);
    if (/^\d/.test(token)) return Number(token);
    if (token === "true" || token === "false") return token === "true";
    if (!/^[A-Za-z_]/.test(token)) throw new SyntaxError(`unexpected ${token}`);
    return this.#path(token);
  }

  #path(root: string): unknown {
    let value = this.#names[root];
    while (this.#skip(".")) {
      const name = this.#tokens[this.#at++] ?? "";
      if (!isObject(value) || !(name in value)) throw new SyntaxError(`no such key: ${name}`);
      value = value[name];
    }
    return value;
  }

  #skip(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }
}

function sum(left: unknown, right: unknown): unknown {
  if (typeof left === "number" && typeof right === "number") return left + right;
  if (typeof left === "string" && typeof right === "string") return left + right;
  throw new SyntaxError("only numbers or texts add up");
}

function order(left: unknown, right: unknown): number {
  if (typeof left === "number" && typeof right === "number") return left - right;
  if (typeof left === "string" && typeof right === "string") return left < right ? -1 : Number(left > right);
  throw new SyntaxError("only numbers or texts have an order");
}
