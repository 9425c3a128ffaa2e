/** Writes a token whose middle part holds these claims, or this text; its signature is nobody's. */
export function jwt(claims: unknown, middle: string = JSON.stringify(claims)): string {
  return [`{"alg":"ES256"}`, middle, "signature"].map(base64url).join(".");
}

/** Any text, not only what fits into bytes. */
export function base64url(text: string): string {
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** What an error says, or "nothing thrown". */
export function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return error instanceof Error ? error.message : `no Error: ${String(error)}`;
  }
  return "nothing thrown";
}
