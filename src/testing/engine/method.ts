/** Whether a name, with or without its service, names this method. */
export function names(name: string, method: string): boolean {
  return name === method || method.endsWith(`/${name}`);
}
