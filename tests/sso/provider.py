"""A real OpenID provider (django-oauth-toolkit) as a program: `provider.py FOLDER PORT`.

FOLDER holds its signing key (key.pem), the people who may sign in with what is claimed of them
(people.json, read anew for each token), and its database.
"""

import json
import sys
from pathlib import Path

import django
import uvicorn
from django.conf import settings

PASSWORD = "their password at the provider"
CLIENT = ("oneprotect-portal", "portal-client-secret-0123456789")
CALLBACK = "http://testserver/login/sso/callback"
LOGIN = '<form method="post">{% csrf_token %}{{ form }}<button>Sign in</button></form>'


def configure(folder: Path, port: int) -> None:
    settings.configure(
        SECRET_KEY="for-this-test-run-only-0123456789abcdef0123456789abcdef",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="urls_of_the_provider",
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "provider.db"}
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "context_processors": ["django.template.context_processors.request"],
                    "loaders": [
                        ("django.template.loaders.locmem.Loader", {"login.html": LOGIN}),
                    ],
                },
            }
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGIN_URL="/login/",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        OAUTH2_PROVIDER={
            "OIDC_ENABLED": True,
            "OIDC_ISS_ENDPOINT": f"http://127.0.0.1:{port}/o",
            "OIDC_RSA_PRIVATE_KEY": (folder / "key.pem").read_text(),
            "OAUTH2_VALIDATOR_CLASS": claims_of(folder),
            "SCOPES": {"openid": "", "email": "", "profile": ""},
            "PKCE_REQUIRED": True,
            "ALLOWED_REDIRECT_URI_SCHEMES": ["http"],
        },
    )
    django.setup()


def claims_of(folder: Path) -> str:
    """Name the validator class: it can only be made once Django is set up."""
    Path(folder / "claims_of_people.py").write_text(
        "import json, pathlib\n"
        "from oauth2_provider.oauth2_validators import OAuth2Validator\n"
        f"PEOPLE = pathlib.Path({str(folder / 'people.json')!r})\n"
        "class Claims(OAuth2Validator):\n"
        "    oidc_claim_scope = None\n"
        "    def get_additional_claims(self, request):\n"
        "        return json.loads(PEOPLE.read_text())[request.user.username]\n"
    )
    sys.path.insert(0, str(folder))
    return "claims_of_people.Claims"


def set_up(folder: Path) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    for name in json.loads((folder / "people.json").read_text()):
        User.objects.create_user(name, password=PASSWORD)
    client_id, client_secret = CLIENT
    Application.objects.create(
        client_id=client_id,
        client_secret=client_secret,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        algorithm=Application.RS256_ALGORITHM,
        redirect_uris=CALLBACK,
        skip_authorization=True,
    )


def serve(port: int) -> None:
    from types import ModuleType

    from django.contrib.auth.views import LoginView
    from django.core.asgi import get_asgi_application
    from django.urls import include, path

    urls = ModuleType("urls_of_the_provider")
    urls.urlpatterns = [  # type: ignore[attr-defined]  # Django looks it up by name
        path("login/", LoginView.as_view(template_name="login.html")),
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    ]
    sys.modules[urls.__name__] = urls
    uvicorn.run(get_asgi_application(), port=port, log_level="critical", lifespan="off")


if __name__ == "__main__":
    place, number = Path(sys.argv[1]), int(sys.argv[2])
    is_new = not (place / "provider.db").exists()
    configure(place, number)
    if is_new:
        set_up(place)
    serve(number)
