/**
 * A front end's first day, compiled (never run) against the types that openapi-typescript makes of the exported
 * document: register, log in, upload one file and several, list, follow the status, read an error.
 *
 * It fails to compile when the document loses a path, a field or a type that a client needs, and also when it becomes
 * so loose that mistakes pass: each `@ts-expect-error` is a mistake that the types must catch. Only paths and wire
 * names are used, never names of schemas, which are not a promise.
 */

import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

// --- Reading the generated types ---

type Json<Content> = Content[keyof Content & `application/json${string}`];
type Method<Path extends keyof paths, Verb extends keyof paths[Path]> = NonNullable<paths[Path][Verb]>;
type Input<Path extends keyof paths, Verb extends keyof paths[Path]> =
  Method<Path, Verb> extends { requestBody: { content: infer Content } } ? Json<Content> : never;
type Output<Path extends keyof paths, Verb extends keyof paths[Path], Status extends number> =
  Method<Path, Verb> extends { responses: infer Replies }
    ? Status extends keyof Replies
      ? Replies[Status] extends { content: infer Content }
        ? Json<Content>
        : never
      : never
    : never;

// True for the very same type only; `any` equals nothing but itself.
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_Claim extends true>(): void {}

// --- The shapes that a client names ---

type User = Output<"/user/profile/", "get", 200>;
type Upload = Input<"/file/", "post">;
type OneFile = Exclude<Upload, readonly unknown[]>;
type ManyFiles = Extract<Upload, readonly unknown[]>;
type Listed = Output<"/file/", "get", 200>[number];
type Status = Output<"/file/upload_status/", "get", 200>[number];
type Failure = Output<"/user/login/", "post", 401>;

// The body of an upload is one file or a list of them, and both arms are the same file.
holds<Same<Upload, OneFile | ManyFiles>>();
holds<Same<ManyFiles[number], OneFile>>();
holds<Same<OneFile["size"], number>>();
// The answer has the shape of the question; the document can only say that it is one of the two.
type Created = Output<"/file/", "post", 201>;
type CreatedOne = Exclude<Created, readonly unknown[]>;
holds<Same<Extract<Created, readonly unknown[]>[number], CreatedOne>>();
holds<Same<CreatedOne["id"], number>>();

// Plain types where the contract has them, `null` where it says so, and the states by name.
holds<Same<User["id"], number>>();
holds<Same<User["username"], string>>();
holds<Same<User["is_active"], boolean>>();
holds<Same<Listed["upload_error"], string | null>>();
holds<Same<Status["oss_url"], string | null>>();
holds<Same<Status["upload_status"], "pending" | "uploading" | "completed" | "failed">>();
holds<Same<Failure["error"], string>>();
holds<Same<Failure["code"], string>>();

// --- The program ---

class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly fields: Record<string, string[]> = {},
  ) {
    super(message);
  }
}

const fields = (failure: Failure): Record<string, string[]> => failure.errors ?? {};

function accepted<T>(reply: { data?: T; error?: Failure }): T {
  if (reply.error !== undefined) {
    throw new Refused(reply.error.code, reply.error.error, fields(reply.error));
  }
  if (reply.data === undefined) {
    throw new Refused("empty", "no content");
  }
  return reply.data;
}

export async function firstDay(baseUrl: string): Promise<string[]> {
  const api = createClient<paths>({ baseUrl });

  const account = { username: "testuser", email: "test@example.com", password: "correct horse 1" };
  const user: User = accepted(await api.POST("/user/register/", { body: account }));

  const login = accepted(await api.POST("/user/login/", { body: { username: user.username, password: account.password } }));
  const headers = { Authorization: `Bearer ${login.access}` };
  const { refresh }: { refresh: string } = login;

  const note: OneFile = { name: "note.txt", content_type: "text/plain", size: 2, file_content: "aGk=" };
  const single = accepted(await api.POST("/file/", { headers, body: note }));
  const several = accepted(await api.POST("/file/", { headers, body: [note, { ...note, name: "b.txt" }] }));
  const created: CreatedOne[] = [single, several].flat();

  const ids = created.map((file) => file.id).join(",");
  const states: Status[] = accepted(
    await api.GET("/file/upload_status/", { headers, params: { query: { file_ids: ids } } }),
  );
  for (const state of states.filter((state) => state.upload_status === "failed")) {
    throw new Refused("upload_failed", `${state.name}: ${state.upload_error ?? ""}`);
  }

  const page: Listed[] = accepted(await api.GET("/file/", { headers, params: { query: { page: 1, page_size: 20 } } }));
  const first: Listed = accepted(await api.GET("/file/{id}/", { headers, params: { path: { id: created[0]?.id ?? 0 } } }));
  accepted(await api.POST("/user/refresh-token/", { body: { refresh } }));
  await api.DELETE("/file/{id}/", { headers, params: { path: { id: first.id } } });

  return page.map((file) => `${file.name} ${file.size} ${file.oss_key ?? "-"} ${file.created_at}`);
}

export async function mistakes(baseUrl: string): Promise<void> {
  const api = createClient<paths>({ baseUrl });

  // @ts-expect-error there is no such path
  await api.GET("/file/uploads/");
  // @ts-expect-error a login needs a password
  await api.POST("/user/login/", { body: { username: "testuser" } });
  // @ts-expect-error a size is a number
  await api.POST("/file/", { body: { name: "a", content_type: "text/plain", size: "2", file_content: "aGk=" } });
  // @ts-expect-error every file of a list is checked
  await api.POST("/file/", { body: [{ name: "a" }] });
  // @ts-expect-error an id is a number
  await api.GET("/file/{id}/", { params: { path: { id: "first" } } });
}
