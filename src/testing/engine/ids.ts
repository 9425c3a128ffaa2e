const shape = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return shape.test(text);
}

/** Draws hexadecimal digits. */
export function hex(random: () => number, digits: number): string {
  let text = "";
  for (let index = 0; index < digits; index++) text += Math.floor(random() * 16).toString(16);
  return text;
}

/** Draws a version 4 UUID, so that a seed repeats the ids too. */
export function uuid(random: () => number): string {
  const digits = hex(random, 32);
  const variant = "89ab"[Number.parseInt(digits[16]!, 16) & 3]!;
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-${variant}${digits.slice(17, 20)}-${
    digits.slice(20)
  }`;
}
