// Requests to the server that sent the page.

async function answer(response) {
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

export async function get(path) {
  return answer(await fetch(`api/${path}`));
}

export async function post(path, content) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(`api/${path}`, { method: "POST", headers, body: JSON.stringify(content) }));
}

export function picture(path) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`${path}: no picture`));
    image.src = `api/${path}`;
  });
}
