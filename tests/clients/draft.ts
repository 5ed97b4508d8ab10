// What every client sends: a meeting, the same without a title, and the first with a token that is none.
declare const process: { env: Record<string, string> };

export const URL: string = process.env["SEER_URL"]!;
export const TOKEN: string = process.env["SEER_TOKEN"]!;

// Only the required fields.
export const DRAFT = {
  title: "Made by a client",
  teamMemberId: "01900000-0000-7000-8000-000000000002",
  date: "2031-03-04T09:30:00Z",
  duration: 30,
};
export const UNTITLED = { ...DRAFT, title: "" };

export function expect(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) {
    throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
  }
}
