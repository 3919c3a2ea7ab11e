/* The tools of disk images by themselves: nandu-img, which under the name nandu-io is that one. */
#include <glib.h>
#include <string.h>

#include "cli/img.h"
#include "cli/io.h"

int main(int argc, char **argv)
{
    g_autofree char *name = g_path_get_basename(argc ? argv[0] : "nandu-img");

    return g_str_has_suffix(name, "-io") ? io_main(argc, argv) : img_main(argc, argv);
}
